"""The commands run, resume, replay, branch and digest."""

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jaxecon.cli.errors import BUDGET_SPENT, DIFFERENT, fail, hinting_at_resume
from jaxecon.cli.options import JoinHosts, JoinSeconds, RunArgument, join_processes, keep_programs

if TYPE_CHECKING:
    from jaxecon.storage.run import Run


def run(
    config: Annotated[
        Path | None,
        typer.Argument(help="YAML configuration; the defaults without one.", show_default=False),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; may be repeated."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="A new folder for the run; runs/TIME without one.", show_default=False),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="The same as --set seed=N.", show_default=False)
    ] = None,
    budget_tokens: Annotated[
        int | None,
        typer.Option(
            help="Stop when language models have used so many; --set llm.budget_tokens=N.",
            show_default=False,
        ),
    ] = None,
    budget_usd: Annotated[
        float | None,
        typer.Option(
            help="Stop when they have cost so much; --set llm.budget_usd=X.", show_default=False
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    join_hosts: JoinHosts = False,
    join_seconds: JoinSeconds = 300,
) -> None:
    """Run an economy and print how its planner did."""
    prints = join_processes(join_hosts, join_seconds)
    keep_programs()
    from jaxecon.config.read import load_config
    from jaxecon.simulation.prepare import default_folder, prepare
    from jaxecon.simulation.run import execute

    options = {"seed": seed, "llm.budget_tokens": budget_tokens, "llm.budget_usd": budget_usd}
    overrides = [
        *(set_ or []),
        *(f"{name}={value}" for name, value in options.items() if value is not None),
    ]
    resolved = load_config(config, overrides)
    folder = out or default_folder()
    prepared = prepare(resolved, folder)
    from jaxecon.cli.progress import RunProgress

    with (
        hinting_at_resume(folder),
        RunProgress(resolved, folder) if prints else nullcontext() as progress,
    ):
        finished = execute(prepared, progress)
    if prints:
        close_run(finished, as_json)


def close_run(finished: "Run", as_json: bool) -> None:
    """The tables of a run that has ended, and the exit status of one that a budget stopped."""
    from jaxecon.cli.run_tables import print_summary

    stopped = finished.manifest.get("stopped")
    summary = finished.manifest.get("summary")
    if as_json:
        print(
            json.dumps(
                {
                    "run": str(finished.path),
                    "status": finished.manifest["status"],
                    "stopped": stopped,
                    "diagnostics": finished.manifest.get("diagnostics"),
                    **(summary or {}),
                }
            )
        )
    elif summary is not None:
        print_summary(finished)
    if stopped is not None:
        fail(f"stopped: {stopped}; everything so far is in {finished.path}", BUDGET_SPENT)


def resume(
    run: RunArgument,
    force: Annotated[
        bool,
        typer.Option("--force", help="Also with another configuration, code or model; recorded."),
    ] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Override a setting; what changes results needs --force.",
        ),
    ] = None,
    budget_tokens: Annotated[
        int | None,
        typer.Option(help="A new budget; --set llm.budget_tokens=N.", show_default=False),
    ] = None,
    budget_usd: Annotated[
        float | None, typer.Option(help="A new budget; --set llm.budget_usd=X.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    join_hosts: JoinHosts = False,
    join_seconds: JoinSeconds = 300,
) -> None:
    """Go on with a run from its last checkpoint, as if it had never stopped."""
    prints = join_processes(join_hosts, join_seconds)
    keep_programs()
    from jaxecon.cli.progress import RunProgress
    from jaxecon.cli.run_tables import print_resumption
    from jaxecon.config.read import load_config
    from jaxecon.simulation import resume as simulation_resume
    from jaxecon.storage.run import Run

    options = {"llm.budget_tokens": budget_tokens, "llm.budget_usd": budget_usd}
    overrides = [
        *(set_ or []),
        *(f"{name}={value}" for name, value in options.items() if value is not None),
    ]
    before = Run(run)
    complete = before.manifest["status"] == "complete"
    resolved = load_config(before.config, overrides)
    with (
        hinting_at_resume(run),
        RunProgress(resolved, run) if prints else nullcontext() as progress,
    ):
        tell = print_resumption if prints else None
        finished = simulation_resume.resume(
            run, force=force, overrides=overrides, listener=progress, tell=tell
        )
    if not prints:
        return
    if complete and "resumed" not in finished.manifest:
        print(f"{run}: is complete; nothing to resume", file=sys.stderr)
    close_run(finished, as_json)


def replay(
    run: RunArgument,
    out: Annotated[
        Path | None,
        typer.Option(help="A new folder in which to keep the repetition.", show_default=False),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print both digests and the differences as JSON.")
    ] = False,
) -> None:
    """Live a run again, with its transcript in the place of a model, and compare: is it what it
    says?

    Exit status 1: no.
    """
    keep_programs()
    from jaxecon.cli.progress import RunProgress
    from jaxecon.cli.run_tables import print_replay, replay_record
    from jaxecon.simulation import replay as simulation_replay
    from jaxecon.storage.run import Run

    with RunProgress(Run(run).config, run) as progress:
        replayed = simulation_replay.replay(run, out=out, listener=progress)
    if as_json:
        print(json.dumps(replay_record(replayed), default=str))
    else:
        print_replay(replayed)
    if not replayed.equal:
        sys.exit(DIFFERENT)


def branch(
    run: RunArgument,
    year: Annotated[int, typer.Option(help="The year that begins the new run; the first is 0.")],
    out: Annotated[Path, typer.Option(help="A new folder.")],
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Another policy, planner or model; may be repeated."
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, max=100_000, help="Futures, which differ in their draws.")
    ] = 1,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summaries as JSON, one a line.")
    ] = False,
) -> None:
    """New runs from the state in which RUN began a year: the same people with other futures."""
    keep_programs()
    from jaxecon.cli.progress import RunProgress
    from jaxecon.cli.run_tables import print_futures
    from jaxecon.config.read import load_config
    from jaxecon.simulation import branch as simulation_branch
    from jaxecon.storage.run import Run

    overrides = set_ or []
    resumable = hinting_at_resume(out) if seeds == 1 else nullcontext()
    with resumable, RunProgress(load_config(Run(run).config, overrides), out) as progress:
        futures = simulation_branch.branch(
            run, year=year, out=out, overrides=overrides, seeds=seeds, listener=progress
        )
    if seeds == 1:
        close_run(futures[0], as_json)
    elif as_json:
        for future in futures:
            print(json.dumps({"run": str(future.path), **(future.manifest.get("summary") or {})}))
    else:
        print_futures(futures)
    stopped = [future for future in futures if "stopped" in future.manifest]
    if stopped:
        fail(
            f"stopped: {stopped[0].manifest['stopped']}; {len(stopped)} of {seeds} futures",
            BUDGET_SPENT,
        )


def digest(
    run: RunArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Print the parts too, as JSON.")] = False,
) -> None:
    """SHA-256 over a run's tables (without timings) and its last state: two runs with the same
    digest are the same run.
    """
    from jaxecon.storage.digest import digest as digest_of

    found = digest_of(run)
    if as_json:
        position = None if found.position is None else [found.position.year, found.position.day]
        parts = {
            "years": found.years,
            "agents": found.agents,
            "elections": found.elections,
            "state": found.state,
        }
        print(json.dumps({"digest": found.combined, "position": position, **parts}))
    else:
        print(found.combined)
