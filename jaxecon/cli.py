"""The command line. Heavy modules are imported inside commands, so that `--help` is instant."""

import json
import os
import shlex
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from typer.core import TyperGroup

from jaxecon import __version__
from jaxecon.errors import Interrupted, UserError, first_line, is_out_of_memory

if TYPE_CHECKING:
    from jaxecon.records import Run

DIFFERENT, USER_ERROR, ENGINE_FAILED, BUDGET_SPENT, INTERRUPTED = 1, 2, 3, 4, 130
LOST = ENGINE_FAILED  # another process of the same run

_OUT_OF_MEMORY = (
    "out of memory: lower population.mechanical or the cohorts' sizes, set record.agents=sample, or, with a model on the same "
    "GPU, lower llm.gpu_memory_share or set device=cpu"
)


# Of Click, or of the Click in Typer, which has no public name.
_UsageError = cast("type[Exception]", typer.BadParameter.__mro__[1])


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except UserError as error:
        _fail(str(error), USER_ERROR)
    except _UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # whose message is the help
            raise
        _fail(_usage_line(error), USER_ERROR)
    except Interrupted as error:
        _fail("interrupted", 128 + error.signal)
    except KeyboardInterrupt:
        _fail("interrupted", INTERRUPTED)
    except (RuntimeError, MemoryError, ValueError) as error:
        hosts = sys.modules.get("jaxecon.hosts")  # only where this command has joined others
        if hosts is not None and hosts.is_loss(error):
            _fail(f"another process of this run has gone ({first_line(error)}); start all again, with resume", LOST)
        if is_out_of_memory(error):
            _fail(_OUT_OF_MEMORY, ENGINE_FAILED)
        if type(error).__name__ != "EngineError":  # by name: the bridge may not be loaded
            raise
        _fail(str(error), ENGINE_FAILED)


def _usage_line(error: Any) -> str:
    said = " ".join(error.format_message().split()).rstrip(".")
    return said if error.ctx is None else f"{said} (see {error.ctx.command_path} --help)"


def _keep_compiled() -> None:
    """For commands that compile."""
    from jaxecon.compilation import keep_compiled

    keep_compiled()


def _fail(message: str, status: int) -> None:
    print(f"jaxecon: {message}", file=sys.stderr)
    if "jaxecon.hosts" in sys.modules:
        sys.modules["jaxecon.hosts"].leave(status)
    sys.exit(status)


def _join(hosts: bool, seconds: int) -> bool:
    """Meet the other processes, if asked to. Whether this one prints."""
    if not hosts:
        return True
    from jaxecon.hosts import first, join_hosts

    # Gloo tells standard output, by its number, of every connection; what we print goes there under another number
    ours = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = os.fdopen(ours, "w", closefd=False)
    join_hosts(seconds)
    return first()


class _Commands(TyperGroup):
    """All commands: a user's mistake is one line and exit status 2, never a traceback."""

    def make_context(self, *args: Any, **named: Any) -> Any:
        with _one_line_errors():
            return super().make_context(*args, **named)

    def invoke(self, ctx: Any) -> Any:
        with _one_line_errors():
            return super().invoke(ctx)


app = typer.Typer(
    cls=_Commands, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False, rich_markup_mode=None
)
models_app = typer.Typer(no_args_is_help=True, help="The local language models.")
app.add_typer(models_app, name="models")


def main() -> None:
    """Entry point of `jaxecon`."""
    app()


def _version(value: bool) -> None:
    if value:
        print(f"jaxecon {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """A hybrid simulator of tax policy: mechanical and language-model workers in one economy."""


_JoinHosts = Annotated[
    bool,
    typer.Option(
        "--join-hosts",
        help="This is one of several processes of one run: JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID, or "
        "Slurm, say which.",
    ),
]
_JoinSeconds = Annotated[int, typer.Option(min=1, max=86_400, help="To wait for the others, with --join-hosts.")]


@app.command()
def run(
    config: Annotated[
        Path | None, typer.Argument(help="YAML configuration; the defaults without one.", show_default=False)
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; may be repeated.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A new folder for the run; runs/TIME without one.", show_default=False)] = None,
    seed: Annotated[int | None, typer.Option(help="The same as --set seed=N.", show_default=False)] = None,
    budget_tokens: Annotated[
        int | None,
        typer.Option(help="Stop when language models have used so many; --set llm.budget_tokens=N.", show_default=False),
    ] = None,
    budget_usd: Annotated[
        float | None, typer.Option(help="Stop when they have cost so much; --set llm.budget_usd=X.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    join_hosts: _JoinHosts = False,
    join_seconds: _JoinSeconds = 300,
) -> None:
    """Run an economy and print how its planner did."""
    prints = _join(join_hosts, join_seconds)
    _keep_compiled()
    from jaxecon import api
    from jaxecon import config as configuration

    options = {"seed": seed, "llm.budget_tokens": budget_tokens, "llm.budget_usd": budget_usd}
    overrides = [*(set_ or []), *(f"{name}={value}" for name, value in options.items() if value is not None)]
    resolved = configuration.load(config, overrides)
    folder = out or api.default_folder()
    prepared = api.prepare(resolved, folder)
    from jaxecon.terminal import RunProgress

    with _resumable(folder), RunProgress(resolved, folder) if prints else nullcontext() as progress:
        finished = api.execute(prepared, progress)
    if prints:
        _close(finished, as_json)


def _close(finished: "Run", as_json: bool) -> None:
    """The tables of a run that has ended, and the exit status of one that a budget stopped."""
    from jaxecon.terminal import print_summary

    stopped = finished.manifest.get("stopped")
    summary = finished.manifest.get("summary")
    if as_json:
        print(
            json.dumps(
                {
                    "run": str(finished.path),
                    "status": finished.manifest["status"],
                    "stopped": stopped,
                    "signatures": finished.manifest.get("signatures"),
                    **(summary or {}),
                }
            )
        )
    elif summary is not None:
        print_summary(finished)
    if stopped is not None:
        _fail(f"stopped: {stopped}; everything so far is in {finished.path}", BUDGET_SPENT)


@contextmanager
def _resumable(folder: Path) -> Iterator[None]:
    """What to do after an interruption."""
    try:
        yield
    except KeyboardInterrupt as error:
        number = error.signal if isinstance(error, Interrupted) else 2
        _fail(f"interrupted; go on with: jaxecon resume {shlex.quote(str(folder))}", 128 + number)


_RunDirectory = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")]


@app.command()
def resume(
    run: _RunDirectory,
    force: Annotated[bool, typer.Option("--force", help="Also with another configuration, code or model; recorded.")] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; what changes results needs --force."),
    ] = None,
    budget_tokens: Annotated[
        int | None, typer.Option(help="A new budget; --set llm.budget_tokens=N.", show_default=False)
    ] = None,
    budget_usd: Annotated[float | None, typer.Option(help="A new budget; --set llm.budget_usd=X.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    join_hosts: _JoinHosts = False,
    join_seconds: _JoinSeconds = 300,
) -> None:
    """Go on with a run from its last checkpoint, as if it had never stopped."""
    prints = _join(join_hosts, join_seconds)
    _keep_compiled()
    from jaxecon import config as configuration
    from jaxecon import continuing
    from jaxecon.records import Run
    from jaxecon.terminal import RunProgress, print_resumption

    options = {"llm.budget_tokens": budget_tokens, "llm.budget_usd": budget_usd}
    overrides = [*(set_ or []), *(f"{name}={value}" for name, value in options.items() if value is not None)]
    before = Run(run)
    complete = before.manifest["status"] == "complete"
    resolved = configuration.load(before.config, overrides)
    with _resumable(run), RunProgress(resolved, run) if prints else nullcontext() as progress:
        tell = print_resumption if prints else None
        finished = continuing.resume(run, force=force, overrides=overrides, listener=progress, tell=tell)
    if not prints:
        return
    if complete and "resumed" not in finished.manifest:
        print(f"{run}: is complete; nothing to resume", file=sys.stderr)
    _close(finished, as_json)


@app.command()
def replay(
    run: _RunDirectory,
    out: Annotated[Path | None, typer.Option(help="A new folder in which to keep the repetition.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print both digests and the differences as JSON.")] = False,
) -> None:
    """Live a run again, with its transcript in the place of a model, and compare: is it what it says? Exit status 1: no."""
    _keep_compiled()
    from jaxecon import continuing, terminal
    from jaxecon.records import Run

    with terminal.RunProgress(Run(run).config, run) as progress:
        replayed = continuing.replay(run, out=out, listener=progress)
    if as_json:
        print(json.dumps(terminal.replay_record(replayed), default=str))
    else:
        terminal.print_replay(replayed)
    if not replayed.equal:
        sys.exit(DIFFERENT)


@app.command()
def branch(
    run: _RunDirectory,
    year: Annotated[int, typer.Option(help="The year that begins the new run; the first is 0.")],
    out: Annotated[Path, typer.Option(help="A new folder.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Another policy, planner or model; may be repeated.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=100_000, help="Futures, which differ in their draws.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summaries as JSON, one a line.")] = False,
) -> None:
    """New runs from the state in which RUN began a year: the same people with other futures."""
    _keep_compiled()
    from jaxecon import config as configuration
    from jaxecon import continuing, terminal
    from jaxecon.records import Run

    overrides = set_ or []
    resumable = _resumable(out) if seeds == 1 else nullcontext()
    with resumable, terminal.RunProgress(configuration.load(Run(run).config, overrides), out) as progress:
        futures = continuing.branch(run, year=year, out=out, overrides=overrides, seeds=seeds, listener=progress)
    if seeds == 1:
        _close(futures[0], as_json)
    elif as_json:
        for future in futures:
            print(json.dumps({"run": str(future.path), **(future.manifest.get("summary") or {})}))
    else:
        terminal.print_futures(futures)
    stopped = [future for future in futures if "stopped" in future.manifest]
    if stopped:
        _fail(f"stopped: {stopped[0].manifest['stopped']}; {len(stopped)} of {seeds} futures", BUDGET_SPENT)


@app.command()
def digest(
    run: _RunDirectory,
    as_json: Annotated[bool, typer.Option("--json", help="Print the parts too, as JSON.")] = False,
) -> None:
    """SHA-256 over a run's tables (without timings) and its last state: two runs with the same digest are the same run."""
    from jaxecon.digest import digest as digest_of

    found = digest_of(run)
    if as_json:
        position = None if found.position is None else [found.position.year, found.position.day]
        parts = {"years": found.years, "agents": found.agents, "elections": found.elections, "state": found.state}
        print(json.dumps({"digest": found.combined, "position": position, **parts}))
    else:
        print(found.combined)


class SearchMethod(StrEnum):
    auto = "auto"
    grid = "grid"
    gradient = "gradient"
    population = "population"


_Config = Annotated[Path | None, typer.Argument(help="YAML configuration; without one, --agents people.", show_default=False)]
_Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; may be repeated.")]
_Agents = Annotated[
    int | None,
    typer.Option(min=1, help="People who respond exactly, without a CONFIG; 1000 unless given.", show_default=False),
]
_Out = Annotated[Path | None, typer.Option(help="A new folder; runs/TIME without one.", show_default=False)]


@app.command()
def optimum(
    config: _Config = None,
    set_: _Set = None,
    agents: _Agents = None,
    method: Annotated[SearchMethod, typer.Option(help="How to search.")] = SearchMethod.auto,
    grid_step: Annotated[float, typer.Option(help="Between rates, for --method grid.")] = 0.1,
    monotone: Annotated[bool, typer.Option("--monotone", help="Rates may not fall from bracket to bracket.")] = False,
    free_thresholds: Annotated[bool, typer.Option("--free-thresholds", help="Choose the thresholds too.")] = False,
    out: _Out = None,
    figure: Annotated[bool, typer.Option("--figure/--no-figure", help="Draw the schedules.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """The schedule with the most welfare at everybody's exact response, beside US federal and Saez."""
    _keep_compiled()
    from jaxecon import api, figures, studies, terminal
    from jaxecon.records import refuse_existing

    if figure:
        figures.check_matplotlib()
    overrides = [*(set_ or []), *(["planner.monotone=true"] if monotone else [])]
    resolved = studies.people(config, overrides, agents)
    folder = out or api.default_folder()
    refuse_existing(folder)
    if figure:
        threading.Thread(target=figures.preload, daemon=True).start()
    with terminal.busy("searching"):
        study = studies.study_optimum(resolved, method.value, free_thresholds=free_thresholds, grid_step=grid_step)
        studies.prepare_folder(folder, resolved)
        studies.write_optimum(folder, study)
        if figure:
            title = f"{study.agents:,} people, welfare {resolved.welfare.function}, preferences {resolved.preferences.set}"
            figures.schedules_figure(folder / "schedule.png", study.rows, terminal.POLICIES, title)
    if as_json:
        print(json.dumps(studies.plain({"folder": str(folder), **vars(study)})))
    else:
        terminal.print_optimum(study, resolved, folder)


@app.command()
def compare(
    config: _Config = None,
    set_: _Set = None,
    agents: _Agents = None,
    planners: Annotated[
        str, typer.Option(help="Names, separated by commas: us_federal, flat, saez, saez_self_consistent, optimum, uniform_50.")
    ] = "us_federal,flat,saez,saez_self_consistent,optimum",
    populations: Annotated[int, typer.Option(min=1, max=100_000, help="Random populations, seeds seed, seed+1, ..")] = 20,
    seed: Annotated[int | None, typer.Option(help="The same as --set seed=N.", show_default=False)] = None,
    out: _Out = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Planners on the same random populations, each at everybody's exact response, with standard errors."""
    _keep_compiled()
    from jaxecon import api, studies, terminal
    from jaxecon.records import refuse_existing

    names = [name.strip() for name in planners.split(",") if name.strip()]
    studies.check_planners(names)
    resolved = studies.people(config, [*(set_ or []), *([f"seed={seed}"] if seed is not None else [])], agents)
    folder = out or api.default_folder()
    refuse_existing(folder)
    with terminal.counting("population", populations) as on_population:
        comparison = studies.compare(resolved, names, populations, on_population)
    studies.prepare_folder(folder, resolved)
    studies.write_comparison(folder, comparison)
    if as_json:
        print(
            json.dumps(studies.plain({"folder": str(folder), "yardstick": comparison.yardstick, "summary": comparison.summary}))
        )
    else:
        terminal.print_comparison(comparison, folder)


class _Executor(StrEnum):
    local = "local"
    ray = "ray"


@app.command()
def sweep(
    config: Annotated[
        Path | None, typer.Argument(help="YAML: what varies, and what all points share; docs/scaling.md.", show_default=False)
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting of `run`; may be repeated.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="A new folder, or that of the same sweep, interrupted, which goes on.", show_default=False),
    ] = None,
    executor: Annotated[_Executor, typer.Option(help="This process, or a Ray cluster.")] = _Executor.local,
    chunk: Annotated[
        int | None, typer.Option(help="Runs in one compiled program; by default what memory takes.", show_default=False)
    ] = None,
    max_points: Annotated[int, typer.Option(help="Refuse a design of more points.")] = 1_000_000,
    summary: Annotated[bool, typer.Option("--summary", help="Print means over seeds; of OUT alone without CONFIG.")] = False,
    figures: Annotated[str | None, typer.Option(help="Figures of the summary, separated by commas.", show_default=False)] = None,
    level: Annotated[float, typer.Option(min=0.5, max=0.9999, help="Of the summary's confidence intervals.")] = 0.95,
    force: Annotated[bool, typer.Option("--force", help="Go on with a sweep that another version of jaxecon began.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Run many configurations as a few compiled programs. Exit status 1 where points failed."""
    _keep_compiled()
    from jaxecon import api, terminal
    from jaxecon.sweep import SUMMARISED, Sweep, check_figures
    from jaxecon.sweep import sweep as live_all

    begun = time.monotonic()
    if figures is not None and not summary:
        raise UserError(f"--figures: {figures}; of the summary: give --summary as well")
    names = [name.strip() for name in figures.split(",")] if figures else list(SUMMARISED)
    check_figures(names)
    if config is None:
        if out is None or not summary or set_:
            raise UserError("CONFIG: a sweep's file; without one, --summary and --out print what a folder holds")
        found = Sweep(out)
    else:
        where, folder = _executor(executor), out or api.default_folder()
        try:
            with terminal.SweepProgress() as progress:
                found = live_all(
                    config,
                    overrides=set_ or [],
                    out=folder,
                    executor=where,
                    lanes=chunk,
                    most_points=max_points,
                    force=force,
                    listener=progress,
                )
        except KeyboardInterrupt as error:
            number = error.signal if isinstance(error, Interrupted) else 2
            again = shlex.join([*sys.argv[1:], *([] if out else ["--out", str(folder)])])
            _fail(f"interrupted; go on with: jaxecon {again}", 128 + number)
    if as_json:
        rows = found.summary(names, level) if summary else None
        print(json.dumps({"sweep": str(found.path), **{k: found.manifest.get(k) for k in _ENDS}, "summary": rows}))
    else:
        if config is not None:
            terminal.print_sweep(found, time.monotonic() - begun)
        if summary:
            terminal.print_sweep_summary(found, names, level)
    if found.manifest.get("failed"):
        sys.exit(DIFFERENT)


_ENDS = ("status", "points", "failed")


def _executor(name: _Executor) -> Any:
    if name is _Executor.local:
        return None
    from jaxecon.ray_executor import RayExecutor

    return RayExecutor()


@app.command()
def experiment(
    name: Annotated[str, typer.Argument(help="Which; docs/experiments.md lists them.")],
    quick: Annotated[bool, typer.Option("--quick", help="Minutes on two cores; the default.")] = False,
    full: Annotated[bool, typer.Option("--full", help="For a GPU or a cluster.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="A new folder, or that of the same experiment, interrupted, which goes on.", show_default=False),
    ] = None,
    no_llm: Annotated[bool, typer.Option("--no-llm", help="Leave out what needs a language model.")] = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting of all runs; may be repeated.")
    ] = None,
    executor: Annotated[_Executor, typer.Option(help="This process, or a Ray cluster.")] = _Executor.local,
    force: Annotated[bool, typer.Option("--force", help="Go on with what another version of jaxecon began.")] = False,
) -> None:
    """Run one of the suite's experiments: tables, figures, a report. Exit status 1 where points failed."""
    if quick and full:
        raise UserError("--quick and --full: give one of them")
    _keep_compiled()
    from jaxecon import api, terminal

    api.check_suite()
    from experiments import suite

    begun, size = time.monotonic(), "full" if full else "quick"
    suite.load(name, size)  # a name that is none is heard of before a folder is
    folder = out or api.default_folder()
    try:
        report = suite.conduct(
            name,
            size,
            out=folder,
            llm=not no_llm,
            overrides=set_ or [],
            executor=_executor(executor),
            force=force,
            watch=terminal.StudyProgress,
        )
    except KeyboardInterrupt as error:
        number = error.signal if isinstance(error, Interrupted) else 2
        again = shlex.join([*sys.argv[1:], *([] if out else ["--out", str(folder)])])
        _fail(f"interrupted; go on with: jaxecon {again}", 128 + number)
    terminal.print_experiment(report, time.monotonic() - begun)
    if report.failed:
        sys.exit(DIFFERENT)


class DecisionStatus(StrEnum):
    ok = "ok"
    repaired = "repaired"
    retried = "retried"
    fallback = "fallback"


@app.command()
def transcript(
    run: Annotated[Path, typer.Argument(help="A run directory; the run may still be going.")],
    show: Annotated[bool, typer.Option("--show", help="Print the conversations.")] = False,
    export: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the conversations, one JSON object a line; - for standard output.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the totals as JSON.")] = False,
    kind: Annotated[str | None, typer.Option(help="Only this kind of decision: labor, plan, ..", show_default=False)] = None,
    year: Annotated[int | None, typer.Option(min=0, help="Only this year; the first is 0.", show_default=False)] = None,
    day: Annotated[
        int | None, typer.Option(min=0, help="Only this day of each year; the first is 0.", show_default=False)
    ] = None,
    cohort: Annotated[str | None, typer.Option(help="Only this cohort.", show_default=False)] = None,
    agent: Annotated[int | None, typer.Option(min=0, help="Only this agent; the first is 0.", show_default=False)] = None,
    status: Annotated[
        DecisionStatus | None, typer.Option(help="Only decisions that ended like this.", show_default=False)
    ] = None,
) -> None:
    """What the language model was asked and answered: totals per cohort and kind, or the conversations themselves.

    Years and days count from 0 here, as in all files; prompts count them from 1.
    """
    if show + (export is not None) + as_json > 1:
        raise UserError("--show, --export and --json: give one of them")
    with closing(_open_transcript(run)) as opened:
        from jaxecon import terminal

        totals = opened.totals()
        for option, value, known in (("kind", kind, {t.kind for t in totals}), ("cohort", cohort, {t.cohort for t in totals})):
            if value is not None and value not in known:
                raise UserError(f"--{option}: {value!r}; {run} holds {', '.join(sorted(known)) or 'no requests yet'}")
        wanted = {"kind": kind, "year": year, "day": day, "cohort": cohort, "agent": agent, "status": status and status.value}
        if show:
            terminal.print_conversations(opened.conversations(**wanted))
        elif export is not None:
            terminal.export_lines(export, opened.conversations(**wanted))
        elif as_json:
            given = [vars(total) for total in opened.totals(**wanted)]
            print(json.dumps({"run": str(run), "models": opened.identities(None), "totals": given}))
        else:
            terminal.print_totals(opened.totals(**wanted), opened.identities(None))
        sys.stdout.flush()  # here, where a reader that has gone away is no error


def _open_transcript(run: Path) -> Any:
    from jaxecon.api import check_bridge
    from jaxecon.records import MANIFEST, TRANSCRIPT

    if not (run / TRANSCRIPT).is_file():
        if not (run / MANIFEST).is_file():
            raise UserError(f"{run}: not a run directory (no {MANIFEST})")
        raise UserError(f"{run}: this run has no transcript: no language model took part")
    check_bridge()
    from llm.replay import Transcript

    return Transcript(run / TRANSCRIPT, read_only=True)


@app.command()
def settings() -> None:
    """All settings: default, accepted range, meaning."""
    from jaxecon import config as configuration

    for line in configuration.describe():
        print(line)


@models_app.command("list")
def models_list(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """The models that can be pulled, and where those that are here lie."""
    store = _model_store()
    here = {m.name: m for m in store.installed()}
    rows = [{"name": n, "license": k.license, "path": str(here[n].path) if n in here else None} for n, k in store.KNOWN.items()]
    if as_json:
        print(json.dumps(rows))
        return
    for row in rows:
        print(f"{row['name']:<12} {row['license']:<12} {row['path'] or 'not here; jaxecon models pull ' + row['name']}")


@models_app.command("pull")
def models_pull(name: Annotated[str, typer.Argument(help="A name of `jaxecon models list`.")]) -> None:
    """Fetch a model, convert it once, and keep it in the per-user cache."""
    print(_model_store().pull(name, report=lambda line: print(line, file=sys.stderr)))


@models_app.command("path")
def models_path(name: Annotated[str, typer.Argument(help="A known name, a Hugging Face name, or a folder.")]) -> None:
    """Print where a model lies."""
    print(_model_store().resolve(name))


def _model_store() -> Any:
    from jaxecon.api import check_bridge

    check_bridge()
    from llm import models

    return models


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """Versions, devices and models found; what is missing."""
    from jaxecon.doctor import examine, print_report

    report = examine()
    if as_json:
        print(json.dumps(report))
    else:
        print_report(report)


if __name__ == "__main__":
    main()
