"""What a run shows on a terminal: progress while it lives, tables when it ends."""

import json
import math
import sys
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean, stdev
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from jaxecon.config import Config
from jaxecon.errors import UserError
from jaxecon.records import Run
from jaxecon.words import amount_text

if TYPE_CHECKING:
    from experiments.suite import Report
    from jaxecon.chunks import Chunk
    from jaxecon.continuing import Replay, Resumption
    from jaxecon.signatures import Signature
    from jaxecon.simulation import LLMUsage
    from jaxecon.studies import Comparison, OptimumStudy
    from jaxecon.sweep import Sweep
    from llm.replay import Conversation, Total

SIMULATED = "simulated"  # the engine that is no language model

POLICIES = {
    "us_federal": "US federal",
    "flat": "best flat",
    "saez": "Saez",
    "saez_self_consistent": "Saez, fixed point",
    "optimum": "optimum",
    "uniform_50": "50 % everywhere",
    "final": "planner",
}
SIGNATURES = {
    "oscillating_rates": "oscillating rates",
    "welfare_collapse": "welfare collapse",
    "homogeneous_labor": "homogeneous labour",
    "fallback_rate": "many fallbacks",
}
STATUSES = ("ok", "repaired", "retried", "fallback")


class RunProgress:
    """A line of progress on standard error. Implements simulation.Listener."""

    def __init__(self, config: Config, folder: Path) -> None:
        self._config, self._console = config, Console(stderr=True)
        self._days = config.year.days
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("{task.fields[figures]}"),
            console=self._console,
            transient=True,
        )
        self._task: TaskID | None = None
        agents = ", ".join(f"{c.size:,} {c.name}" for c in config.cohorts)
        self._console.print(
            f"{agents}; {config.planner_kind} planner; {config.years} years of {self._days} days -> {folder}", soft_wrap=True
        )

    def __enter__(self) -> "RunProgress":
        self._bar.__enter__()
        local = [s.model for s in self._config.servings.values() if s.engine == "vllm"]
        model = f"starting {', '.join(local)}" if local else "compiling"
        self._task = self._bar.add_task(model, total=self._config.years * self._days, figures="")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.__exit__(kind, error, trace)

    def on_days(self, year: int, days_done: int, day: Mapping[str, float], usage: "LLMUsage") -> None:
        assert self._task is not None
        figures = f"welfare {amount_text(day['swf_private'])}"
        if usage.calls:
            rate = usage.calls / max(usage.seconds, 1e-9)
            figures += f"  {rate:.1f} requests/s  {_share(usage.cached_tokens, usage.prompt_tokens)} cached"
        self._bar.update(
            self._task,
            completed=year * self._days + days_done,
            description=f"year {year + 1}/{self._config.years} day {days_done}/{self._days}",
            figures=figures,
        )

    def on_year(self, row: Mapping[str, Any], usage: "LLMUsage") -> None:
        if self._config.years <= 50 and self._console.is_terminal:
            rates = "/".join(f"{100 * v:.0f}" for k, v in row.items() if k.startswith("rate_"))
            welfare = amount_text(row["swf_window"])
            self._bar.console.print(
                f"year {row['year'] + 1}: {rates} %, welfare {welfare}, gain {_percent(row['gain_realised'])} "
                f"(all learnt: {_percent(row['gain_equilibrium'])})"
            )

    def on_signature(self, found: "Signature") -> None:
        self._bar.console.print(f"SIGN OF FAILURE: {_signature_line(found)}", soft_wrap=True)


MOST_TERMS = 12  # that the closing lines list


def _elections_line(run: Run) -> str:
    """Who led when; or how often a planner was thrown out."""
    years, leaders = (run.years[name].to_pylist() for name in ("year", "leader"))
    if run.config.elections.retention:
        out = [e["year"] + 1 for e in run.elections.to_pylist() if e["candidate"] == 1 and e["elected"]]
        return f"Thrown out by the workers before year {', '.join(map(str, out))}." if out else "The workers kept their planner."
    terms: list[tuple[str, int, int]] = []
    for year, leader in zip(years, leaders, strict=True):
        if terms and terms[-1][0] == leader:
            terms[-1] = leader, terms[-1][1], year
        else:
            terms.append((leader, year, year))
    shown = [f"{leader} ({first + 1}{f'-{last + 1}' * (last > first)})" for leader, first, last in terms[-MOST_TERMS:]]
    earlier = f"{len(terms) - MOST_TERMS} earlier, " if len(terms) > MOST_TERMS else ""
    return f"Leaders by year: {earlier}{', '.join(shown)}."


def print_summary(run: Run) -> None:
    """The closing tables of a run."""
    console = Console()
    summary, config = run.summary, run.config
    realised = summary["realised"]
    console.print("Once everybody has learnt the schedule (gain over US federal):")
    table = _table("", "rates, %", "welfare", "gain", "h/week", "Gini", "rebate")
    for row in summary["policies"]:
        table.add_row(*_policy_cells(row))
    console.print(table)
    _print_missing(console, summary["policies_without_schedule"])
    _print_not_converged(console, summary["policies"])
    welfare = f"{amount_text(realised['swf_window'])} ({_percent(realised['gain_realised'])})"
    console.print(
        f"Realised at the end of the last year: welfare {welfare}; "
        f"over that year {realised['mean_hours']:.1f} h/week, Gini {realised['gini_consumption']:.3f}. "
        f"Planner {summary['planner']}, one seed ({config.seed})."
    )
    if config.welfare.function not in ("rawlsian", "atkinson"):  # these have no weights
        console.print(
            f"Welfare weights {config.welfare.function}: effective sample {summary['effective_sample_size']:,.0f} agents."
        )
    if config.holds_elections:
        console.print(_elections_line(run))
    if summary["llm"]:
        console.print(_usage_line(summary["llm"]))
    if config.satisfaction.judged:
        counted = "counted by" if config.welfare.satisfaction == "counted" else "not counted by"
        console.print(
            f"{100 * realised['satisfied_share']:.0f} % are satisfied at the end; the penalty is {counted} welfare. "
            "(It changes nobody's best hours: it scales utility and is not chosen.)"
        )
    for found in run.signatures:
        console.print(f"SIGN OF FAILURE: {_signature_line(found)}", soft_wrap=True)
    if "stopped" in run.manifest:
        console.print(f"STOPPED after {realised['year'] + 1} of {config.years} years: {run.manifest['stopped']}")
    console.print(f"Run directory: {run.path}  ({summary['seconds']:.0f} s)", soft_wrap=True)


def _signature_line(found: "Signature") -> str:
    """Years count from 1 on a terminal."""
    spans = ", ".join(f"{first + 1}" if first == last else f"{first + 1} to {last + 1}" for first, last in found.years)
    years = "year" if found.years[0][0] == found.years[-1][1] else "years"
    return f"{SIGNATURES[found.name]} in {years} {spans}: {escape(found.seen)}"


def print_resumption(resumption: "Resumption") -> None:
    """From where a run goes on, and what is to be known of it."""
    console = Console(stderr=True)
    for line in resumption.damaged:
        console.print(f"damaged and passed over: {line}", soft_wrap=True)
    start = "the start: there is no checkpoint yet" if resumption.position.name == "00000000-000000" else str(resumption.position)
    console.print(f"resuming from {start}", soft_wrap=True)
    for line in resumption.changed:
        console.print(f"forced: {line}", soft_wrap=True)
    if resumption.inexact:
        console.print(f"no longer promised to be equal to the last bit: {'; '.join(resumption.inexact)}", soft_wrap=True)


def replay_record(replay: "Replay") -> dict[str, Any]:
    """As JSON."""
    return {
        "equal": replay.equal,
        "recorded": replay.recorded.combined,
        "replayed": replay.replayed.combined,
        "differences": [vars(difference) for difference in replay.differences],
        "notes": list(replay.notes),
    }


def print_replay(replay: "Replay") -> None:
    """What `jaxecon replay` shows."""
    console, position = Console(), replay.recorded.position
    for note in replay.notes:
        console.print(f"note: {note}", soft_wrap=True)
    if replay.equal:
        console.print(f"equal: lived again up to {position}, the digest is {replay.recorded.combined}", soft_wrap=True)
        return
    console.print(f"DIFFERENT up to {position}: {replay.recorded.combined} was recorded, {replay.replayed.combined} came out")
    decided = [d for d in replay.differences if d.decided]
    console.print(f"Decisions that differ: {', '.join(f'{d.where} {d.column}' for d in decided) or 'none'}.", soft_wrap=True)
    table = _table("", "", "largest difference", "relative")
    for d in sorted(replay.differences, key=lambda d: -d.relative)[:20]:
        table.add_row(d.where, d.column, f"{d.absolute:.3g}", f"{d.relative:.3g}")
    console.print(table)


def print_futures(futures: Sequence[Run]) -> None:
    """What `jaxecon branch` shows of several futures: what each came to, and their mean with its standard error."""
    console = Console()
    table = _table("future", "realised gain", "gain once learnt", "h/week", "run")
    gains = []
    for future in futures:
        if "summary" not in future.manifest:  # stopped before its first year was over
            continue
        row = future.summary["realised"]
        gains.append((row["gain_realised"], row["gain_equilibrium"]))
        hours = f"{row['mean_hours']:.1f}"
        table.add_row(str(future.config.seed_of_draws), _percent(gains[-1][0]), _percent(gains[-1][1]), hours, str(future.path))
    console.print(table)
    for future in futures:
        for found in future.signatures:
            line = f"SIGN OF FAILURE in future {future.config.seed_of_draws}: {_signature_line(found)}"
            console.print(line, soft_wrap=True)
    for name, values in zip(("realised", "once learnt"), zip(*gains, strict=True), strict=False):
        error = stdev(values) / len(values) ** 0.5 if len(values) > 1 else math.nan
        console.print(f"Gain over US federal, {name}: {_percent(fmean(values))}, standard error {_percent_error(error)} points.")


@contextmanager
def busy(what: str) -> Iterator[None]:
    """A spinner on standard error while something takes seconds."""
    with Console(stderr=True).status(what):
        yield


@contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A line of progress on standard error; what it yields is told how many are done."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"{what} 1/{total}", total=total)
        yield lambda done: bar.update(task, completed=done, description=f"{what} {min(done + 1, total)}/{total}")


class SweepProgress:
    """A line of progress on standard error. Implements sweep.Listener."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn())
        self._bar = Progress(*columns, TextColumn("{task.fields[figures]}"), console=console, transient=True)
        self._task = self._bar.add_task("planning", total=None, figures="")
        self._begun, self._before, self._done, self._failed = 0.0, 0, 0, 0

    def __enter__(self) -> "SweepProgress":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar.live.is_started:
            self._bar.stop()

    def note(self, line: str) -> None:
        self._bar.console.print(escape(line), soft_wrap=True)

    def planning(self, looked_at: int, total: int) -> None:
        self._bar.start()  # not before there is a sweep to go through
        self._bar.update(self._task, completed=looked_at, total=total)

    def begin(self, total: int, done: int) -> None:
        self._bar.start()
        self._begun, self._before, self._done = time.monotonic(), done, done
        if done:
            self.note(f"going on: {done:,} of {total:,} points are there")
        self._bar.update(self._task, completed=done, total=total, description=f"point {done:,}/{total:,}")

    def lived(self, points: int, failed: int) -> None:
        self._done, self._failed = self._done + points, self._failed + failed
        total = int(self._bar.tasks[self._task].total or 0)
        rate = (self._done - self._before) / max(time.monotonic() - self._begun, 1e-9)
        left = (total - self._done) / rate
        figures = f"{rate:,.1f} points/s, {left:,.0f} s left" + (f", {self._failed:,} failed" if self._failed else "")
        self._bar.update(self._task, completed=self._done, description=f"point {self._done:,}/{total:,}", figures=figures)

    def halved(self, chunk: "Chunk", lanes: int) -> None:
        self.note(f"out of memory: {chunk.lanes:,} runs at a time do not fit, going on with {lanes:,}")


class StudyProgress(SweepProgress):
    """Of one of an experiment's sweeps."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.note(what)


def print_experiment(report: "Report", seconds: float) -> None:
    """What `jaxecon experiment` shows: the question, its tables, where the figures are."""
    console = Console()
    console.print(escape(report.question))
    for given in report.tables:
        if given.printed:
            console.print(f"\n{escape(given.title)}", soft_wrap=True)
            _print_sections(console, given.heads, given.cells)
            if given.note:
                console.print(escape(given.note))
    for note in report.notes:
        console.print(escape(note))
    for path in report.figures:
        console.print(f"Figure: {escape(str(path))}", soft_wrap=True)
    console.print(f"All tables: {escape(str(report.folder / 'report.md'))}  ({seconds:.0f} s)", soft_wrap=True)


def _print_sections(console: Console, heads: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    """A table in which a row with nothing beside its first cell is a line above those that follow it."""
    sections: list[tuple[str, list[Sequence[str]]]] = [("", [])]
    for row in cells:
        if len(row) > 1 and not any(row[1:]):
            sections.append((row[0], []))
        else:
            sections[-1][1].append(row)
    numbers = [max(map(len, column)) for column in list(zip(heads, *cells, strict=True))[1:]]
    labels = max((len(row[0]) for _, rows in sections for row in rows), default=0)
    labels = max(_LEAST_LABEL, min(max(labels, len(heads[0])), console.width - sum(width + 1 for width in numbers) - 3))
    headed = False
    for words, rows in sections:
        if words:
            console.print(escape(words))
        if not rows:
            continue
        table = _table(*map(escape, heads))
        table.show_header, headed = not headed, True
        table.padding = 0  # a space between columns is the box's
        table.columns[0].width = labels
        for column, width in zip(table.columns[1:], numbers, strict=True):
            column.min_width, column.overflow = width, "fold"
        for row in rows:
            table.add_row(*map(escape, row))
        console.print(table)


_LEAST_LABEL = 10  # characters
_RATES_WIDTH = 22  # of a line of rates
_MOST_ROWS = 40  # of a table on a terminal


def print_sweep(found: "Sweep", seconds: float) -> None:
    """How a sweep ended."""
    console = Console()
    manifest, table = found.manifest, found.points
    ok = manifest["points"] - manifest["failed"]
    console.print(f"{ok:,} of {manifest['points']:,} points lived, {manifest['failed']:,} failed ({seconds:.0f} s)")
    errors: dict[str, list[int]] = {}
    for index, error in zip(table["point"].to_pylist(), table["error"].to_pylist(), strict=True):
        if error is not None:
            errors.setdefault(error, []).append(index)
    for error, indices in list(errors.items())[:5]:
        more = f" and {len(indices) - 1:,} more" if len(indices) > 1 else ""
        console.print(f"FAILED: point {indices[0]}{more}: {escape(error)}", soft_wrap=True)
    console.print(f"Sweep directory: {escape(str(found.path))}  (points.parquet, years.parquet)", soft_wrap=True)


def print_sweep_summary(found: "Sweep", figures: Sequence[str], level: float) -> None:
    """Means over seeds."""
    console, rows = Console(), found.summary(figures, level)
    kept = list(rows[0])[: list(rows[0]).index("points")]
    last = [name.rsplit(".", 1)[-1] for name in kept]
    heads = [short if last.count(short) == 1 else name for short, name in zip(last, kept, strict=True)]
    units = [f"{name}, %" if name.startswith("gain_") else name for name in figures]
    table = _table(*(head.replace("_", " ") for head in (*heads, "n", *units)))
    for row in rows[:_MOST_ROWS]:
        counted = f"{row['n']} ({row['failed']} failed)" if row["failed"] else str(row["n"])
        cells = (_mean_cell(name, row[f"{name}_mean"], row[f"{name}_ci"]) for name in figures)
        table.add_row(*(_cell(row[name]) for name in kept), counted, *cells)
    console.print(table)
    if len(rows) > _MOST_ROWS:
        console.print(f"{len(rows) - _MOST_ROWS:,} more rows: --json prints them all")
    console.print(f"Last years, mean over seeds ± half a {level:.0%} confidence interval.")
    if found.manifest["status"] != "complete":
        console.print(f"The sweep is not finished: {sum(row['points'] for row in rows):,} points so far.")


def _mean_cell(name: str, mean: float | None, width: float | None) -> str:
    """A mean with as many digits as its interval leaves certain; gains in percent."""
    if mean is None:
        return ""
    scale = 100 if name.startswith("gain_") else 1
    if width is None or not width > 0:
        return f"{scale * mean:.4g}"
    digits = max(0, 1 - math.floor(math.log10(scale * width)))
    return f"{scale * mean:,.{digits}f}±{scale * width:,.{digits}f}"


def _cell(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else escape(str(value))


def print_optimum(study: "OptimumStudy", config: Config, folder: Path) -> None:
    """What `jaxecon optimum` shows."""
    console, found = Console(), study.optimum
    console.print("Once everybody has learnt the schedule (gain over US federal):")
    table = _table("", "rates, %", "welfare", "gain", "h/week", "Gini", "rebate")
    for row in study.rows:
        table.add_row(*_policy_cells(row))
    console.print(table)
    _print_missing(console, study.missing)
    _print_not_converged(console, study.rows)
    _print_unpaid(console, study.rows, config.budget.public_spending)
    best = study.rows[-1]
    if found["free_thresholds"]:
        console.print(f"Thresholds of the optimum: {', '.join(f'{t:,.0f}' for t in best['thresholds'])} $/year.")
    if found["method"] == "grid":
        console.print(f"All {found['evaluations']:,} schedules of the grid, in {found['seconds']:.1f} s with compilation.")
    else:
        console.print(
            f"Found by the {found['found_by']} search among {found['evaluations']:,} schedules, "
            f"in {found['seconds']:.1f} s with compilation."
        )
    certificate = "certified: none is better" if found["certified"] else "NOT certified: one of them is better"
    console.print(
        f"{found['neighbours']} neighbours at a step of 0.01, {certificate} (the best by {amount_text(found['best_neighbour'])})."
    )
    linear = config.preferences.consumption_curvature == 0
    residuals = "/".join(f"{100 * r:+.2f}" if linear else f"{r:+.3g}" for r in found["residuals"])
    unit = "percent of welfare" if linear else "utility"
    console.print(f"First-order residuals: {residuals} ({unit} per unit of each rate; 0 at an interior optimum).")
    if found["multiplier"] > 0:
        console.print(f"The budget binds: a dollar of spending per person costs {found['multiplier']:.3f} of welfare on top.")
    if any(found["empty"]):
        brackets = ", ".join(str(k + 1) for k, empty in enumerate(found["empty"]) if empty)
        console.print(f"Nobody has income in bracket {brackets}: it takes its neighbour's rate.")
    if found["followers"] < study.agents:
        console.print(f"Searched on {found['followers']:,} quantiles of {study.agents:,} people; the table is of all.")
    if config.welfare.function not in ("rawlsian", "atkinson"):
        console.print(f"Welfare weights {config.welfare.function}: effective sample {study.effective_sample_size:,.0f} agents.")
    console.print(f"Written to {folder}", soft_wrap=True)


def print_comparison(comparison: "Comparison", folder: Path) -> None:
    """What `jaxecon compare` shows."""
    console, summary = Console(), comparison.summary
    names = [POLICIES[row["policy"]] for row in summary]
    count = summary[0]["populations"]
    console.print(f"{count} population{'s' if count > 1 else ''}, everybody responding exactly; gain over US federal in percent:")
    table = _table("", "gain", "s.e.", "95 %", f"less {POLICIES[comparison.yardstick]}", "s.e.", "h/week", "lost, $")
    for row, name in zip(summary, names, strict=True):
        gain, difference = row["gain"], row["difference"]
        interval = f"{100 * gain['low']:.2f}..{100 * gain['high']:.2f}" if gain["standard_error"] > 1e-6 else ""
        table.add_row(
            name,
            f"{round(100 * gain['mean'], 2) + 0.0:+.2f}",
            _percent_error(gain["standard_error"]),
            interval,
            f"{round(100 * difference['mean'], 2) + 0.0:+.2f}" if row["policy"] != comparison.yardstick else "",
            _percent_error(difference["standard_error"]) if row["policy"] != comparison.yardstick else "",
            f"{row['hours']:.1f}",
            f"{row['deadweight_loss']:,.0f}",
        )
    console.print(table)
    console.print("(lost: deadweight loss, $/year per person)")
    _print_missing(console, comparison.missing)
    _print_not_converged(console, comparison.rows)

    federal = next((row for row in summary if row["policy"] == "us_federal"), None)
    if federal is not None and len(summary) > 1:
        console.print("\nWho gains over US federal, by decile of skill: $/year (share of people better off, %)")
        others = [row for row in summary if row["policy"] != "us_federal"]
        table = _table("decile", *(POLICIES[row["policy"]] for row in others))
        for d, before in enumerate(federal["decile_worth"]):
            cells = (f"{row['decile_worth'][d] - before:+,.0f} ({100 * row['decile_gain_share'][d]:.0f})" for row in others)
            table.add_row(str(d + 1), *cells)
        console.print(table)

    console.print("\nAverage / marginal rate by decile, %")
    table = _table("decile", *names)
    for d in range(len(summary[0]["decile_income"])):
        cells = (f"{100 * row['decile_average_rate'][d]:.0f} / {100 * row['decile_marginal_rate'][d]:.0f}" for row in summary)
        table.add_row(str(d + 1), *cells)
    console.print(table)

    console.print("\nMarginal welfare weight (share of people, %) by bracket of income under each schedule")
    table = _table("from, $", *names)
    longest = max(summary, key=lambda row: len(row["thresholds"]))
    for k, threshold in enumerate(longest["thresholds"]):
        table.add_row(f"{threshold:,.0f}", *(_bracket_cell(row, threshold, k) for row in summary))
    console.print(table)
    console.print(f"Written to {folder}", soft_wrap=True)


def print_totals(totals: "Sequence[Total]", models: Sequence[Mapping[str, str]]) -> None:
    """What `jaxecon transcript` shows. models: the identities of whoever answered."""
    console = Console()
    if not totals:
        console.print("No requests.")
        return
    table = _table("cohort", "kind", "requests", "errors", "tokens in", "cached", "out", "seconds")
    for t in totals:
        table.add_row(
            *(escape(_printable(t.cohort)), escape(_printable(t.kind)), f"{t.requests:,}", f"{t.errors:,}"),
            *(f"{t.prompt_tokens:,}", _share(t.cached_tokens, t.prompt_tokens), f"{t.completion_tokens:,}", f"{t.seconds:,.0f}"),
        )
    if len(totals) > 1:
        table.add_section()
        prompt = sum(t.prompt_tokens for t in totals)
        table.add_row(
            *("all", "", f"{sum(t.requests for t in totals):,}", f"{sum(t.errors for t in totals):,}", f"{prompt:,}"),
            *(_share(sum(t.cached_tokens for t in totals), prompt), f"{sum(t.completion_tokens for t in totals):,}"),
            f"{sum(t.seconds for t in totals):,.0f}",
        )
    console.print(table)
    console.print("(seconds: summed over requests, which overlap)")
    names = (f"{m.get('model', '?')} ({m.get('engine', '?')})" for m in models)
    console.print(f"Answered by {escape(_printable(', '.join(names)))}.\n\nHow decisions came about:")
    table = _table("cohort", "kind", *STATUSES)
    for t in totals:
        table.add_row(escape(_printable(t.cohort)), escape(_printable(t.kind)), *(f"{t.statuses.get(s, 0):,}" for s in STATUSES))
    console.print(table)


def print_conversations(conversations: "Iterable[Conversation]") -> None:
    """Conversations as a person reads them: plain text, whatever a model said."""
    some = False
    for c in conversations:
        some = True
        usage = c["usage"]
        attempt = f", attempt {c['attempt']}" if c["attempt"] else ""
        whose = f"{_printable(c['kind'])} of {_printable(c['cohort'])} agent {c['agent']}"
        print(f"=== year {c['year']}, day {c['day']}: {whose}{attempt}")
        for message in c["messages"]:
            print(f"--- {message['role']}\n{_printable(message['content'])}")
        answer = c["response"] if c["error"] is None else f"(none: {c['error']})"
        print(f"--- answer\n{_printable(answer)}")
        decided = f"decision {json.dumps(c['decision'])}, {c['status']}" if c["status"] is not None else "no decision yet"
        print(
            f"--- {decided}; {usage['prompt_tokens']:,} tokens in ({usage['cached_tokens']:,} cached), "
            f"{usage['completion_tokens']:,} out ({_printable(c['finish_reason'])}), {c['seconds']:.2f} s\n"
        )
    if not some:
        print("No requests.")


def export_lines(path: Path, rows: Iterable[object]) -> None:
    """One JSON object a line, to a new file or, for `-`, to standard output.

    Raises:
        UserError: the file exists or cannot be written; what was begun is taken away again.
    """
    if str(path) == "-":
        for row in rows:
            print(json.dumps(row))
        return
    special = path.exists() and not path.is_file()  # a pipe, /dev/stdout
    try:
        with path.open("w" if special else "x") as file:
            try:
                file.writelines(json.dumps(row) + "\n" for row in rows)
                file.flush()
            except BaseException:
                if not special:
                    path.unlink()
                raise
    except FileExistsError:
        raise UserError(f"--export: {path}: exists; give a new file") from None
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UserError(f"--export: {path}: cannot be written ({error.strerror})") from error


def _printable(text: str) -> str:
    """Without what would move a terminal's cursor or colour it, and without what its encoding lacks."""
    shown = "".join(c if c in "\n\t" or not unicodedata.category(c).startswith("C") else ascii(c)[1:-1] for c in text)
    encoding = sys.stdout.encoding or "utf-8"
    return shown.encode(encoding, "backslashreplace").decode(encoding)


def _bracket_cell(row: Mapping[str, Any], threshold: float, k: int) -> str:
    if k >= len(row["thresholds"]) or row["thresholds"][k] != threshold:
        return ""
    return f"{row['bracket_weight'][k]:.2f} ({100 * row['bracket_people'][k]:.1f})"


def _percent_error(error: float) -> str:
    return "" if math.isnan(error) or error < 1e-6 else f"{100 * error:.2f}"


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for i, name in enumerate(columns):  # fits 80 columns
        table.add_column(name, justify="left" if i == 0 or name == "rates, %" else "right", overflow="fold")
    return table


def _print_unpaid(console: Console, rows: Sequence[Mapping[str, Any]], spending: float) -> None:
    """Policies whose taxes do not pay the rebate's floor: the pool made up for it, so their welfare does not compare."""
    for row in rows:
        short = row["rebate"] - (row["tax"] - spending)
        if short > 1:
            console.print(f"{POLICIES[row['policy']]}: taxes fall {short:,.0f} $/year per person short of the rebate's floor.")


def _print_not_converged(console: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    """Policies whose iteration ended before it came to rest: their schedule is not what their name says."""
    for name in dict.fromkeys(row["policy"] for row in rows):
        ended = [row for row in rows if row["policy"] == name and row.get("converged") is not None]
        wrong = [row["last_change"] for row in ended if not row["converged"]]
        if wrong:
            console.print(
                f"{POLICIES[name]}: not a fixed point in {len(wrong)} of {len(ended)} population{'s' if len(ended) > 1 else ''} "
                f"(the last iteration asked for changes of up to {max(wrong):.3g} in a rate).",
                soft_wrap=True,
            )


def _print_missing(console: Console, missing: Mapping[str, str]) -> None:
    for kind, reason in missing.items():
        console.print(f"No schedule of {POLICIES[kind]} here: {reason}", soft_wrap=True)


def _policy_cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        POLICIES[row["policy"]],
        _rates(row["rates"]),
        amount_text(row["welfare"]),
        _percent(row["gain"]),
        f"{row['hours']:.1f}",
        f"{row['gini_consumption']:.3f}",
        f"{row['rebate']:,.0f}",
    )


def _rates(rates: Sequence[float]) -> str:
    """In percent; one figure where all are the same. In lines that a column of 80 takes whole: no figure is cut in two."""
    *all_but_last, last = (f"{100 * r:.3g}" for r in (rates if len(set(rates)) > 1 else rates[:1]))
    lines = [""]
    for figure in (*(f"{figure}/" for figure in all_but_last), last):
        if len(lines[-1]) + len(figure) > _RATES_WIDTH:
            lines.append("")
        lines[-1] += figure
    return "\n".join(lines)


def _usage_line(usage: Mapping[str, Any]) -> str:
    kinds = "; ".join(
        f"{kind}: " + ", ".join(f"{n} {status}" for status, n in counts.items()) for kind, counts in usage["by_kind"].items()
    )
    who = "Language model" if usage["engines"] != [SIMULATED] else "Simulated engine (rules, no language model)"
    if len(usage["engines"]) > 1:
        who += f" (engines: {', '.join(usage['engines'])})"
    cost = f", ${usage['dollars']:.4f}" if usage["dollars"] else ""
    restarts = f", {usage['restarts']} restart of an engine that died" if usage["restarts"] else ""
    return (
        f"{who}: {usage['calls']:,} calls, {usage['statuses'].get('fallback', 0)} fallbacks ({kinds}); "
        f"{usage['prompt_tokens']:,} tokens in ({_share(usage['cached_tokens'], usage['prompt_tokens'])} cached), "
        f"{usage['completion_tokens']:,} out, {usage['calls'] / max(usage['seconds'], 1e-9):.1f} requests/s{cost}{restarts}."
    )


def _percent(fraction: float) -> str:
    """With sign and two digits, and without a negative zero."""
    return f"{round(100 * fraction, 2) + 0.0:+.2f} %"


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "0 %"
