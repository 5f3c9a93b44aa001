"""What is printed of a run."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from rich.console import Console

from jaxecon.cli.policy_tables import policy_cells, print_missing, print_not_converged
from jaxecon.cli.tables import diagnostic_line, new_table, percent_error, percent_text, usage_line
from jaxecon.core.text import amount_text
from jaxecon.storage.run import Run

if TYPE_CHECKING:
    from jaxecon.simulation.replay import Replay
    from jaxecon.simulation.resume import Resumption


MAX_TERMS = 12  # that the closing lines list


def _elections_line(run: Run) -> str:
    """Who led when; or how often a planner was thrown out."""
    years, leaders = (run.years[name].to_pylist() for name in ("year", "leader"))
    if run.config.elections.retention:
        out = [
            e["year"] + 1 for e in run.elections.to_pylist() if e["candidate"] == 1 and e["elected"]
        ]
        return (
            f"Thrown out by the workers before year {', '.join(map(str, out))}."
            if out
            else "The workers kept their planner."
        )
    terms: list[tuple[str, int, int]] = []
    for year, leader in zip(years, leaders, strict=True):
        if terms and terms[-1][0] == leader:
            terms[-1] = leader, terms[-1][1], year
        else:
            terms.append((leader, year, year))
    shown = [
        f"{leader} ({first + 1}{f'-{last + 1}' * (last > first)})"
        for leader, first, last in terms[-MAX_TERMS:]
    ]
    earlier = f"{len(terms) - MAX_TERMS} earlier, " if len(terms) > MAX_TERMS else ""
    return f"Leaders by year: {earlier}{', '.join(shown)}."


def print_summary(run: Run) -> None:
    """The closing tables of a run."""
    console = Console()
    summary, config = run.summary, run.config
    realised = summary["realised"]
    console.print("Once everybody has learnt the schedule (gain over US federal):")
    table = new_table("", "rates, %", "welfare", "gain", "h/week", "Gini", "rebate")
    for row in summary["policies"]:
        table.add_row(*policy_cells(row))
    console.print(table)
    print_missing(console, summary["policies_without_schedule"])
    print_not_converged(console, summary["policies"])
    welfare = f"{amount_text(realised['swf_window'])} ({percent_text(realised['gain_realised'])})"
    console.print(
        f"Realised at the end of the last year: welfare {welfare}; "
        f"over that year {realised['mean_hours']:.1f} h/week, Gini "
        f"{realised['gini_consumption']:.3f}. "
        f"Planner {summary['planner']}, one seed ({config.seed})."
    )
    if config.welfare.function not in ("rawlsian", "atkinson"):  # these have no weights
        console.print(
            f"Welfare weights {config.welfare.function}: effective sample "
            f"{summary['effective_sample_size']:,.0f} agents."
        )
    if config.holds_elections:
        console.print(_elections_line(run))
    if summary["llm"]:
        console.print(usage_line(summary["llm"]))
    if config.satisfaction.judged:
        counted = "counted by" if config.welfare.satisfaction == "counted" else "not counted by"
        console.print(
            f"{100 * realised['satisfied_share']:.0f} % are satisfied at the end; the penalty is "
            f"{counted} welfare. "
            "(It changes nobody's best hours: it scales utility and is not chosen.)"
        )
    for found in run.diagnostics:
        console.print(f"SIGN OF FAILURE: {diagnostic_line(found)}", soft_wrap=True)
    if "stopped" in run.manifest:
        console.print(
            f"STOPPED after {realised['year'] + 1} of {config.years} years: "
            f"{run.manifest['stopped']}"
        )
    console.print(f"Run directory: {run.path}  ({summary['seconds']:.0f} s)", soft_wrap=True)


def print_resumption(resumption: "Resumption") -> None:
    """From where a run goes on, and what is to be known of it."""
    console = Console(stderr=True)
    for line in resumption.damaged:
        console.print(f"damaged and passed over: {line}", soft_wrap=True)
    start = (
        "the start: there is no checkpoint yet"
        if resumption.position.name == "00000000-000000"
        else str(resumption.position)
    )
    console.print(f"resuming from {start}", soft_wrap=True)
    for line in resumption.changed:
        console.print(f"forced: {line}", soft_wrap=True)
    if resumption.inexact:
        console.print(
            f"no longer promised to be equal to the last bit: {'; '.join(resumption.inexact)}",
            soft_wrap=True,
        )


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
        console.print(
            f"equal: lived again up to {position}, the digest is {replay.recorded.combined}",
            soft_wrap=True,
        )
        return
    console.print(
        f"DIFFERENT up to {position}: {replay.recorded.combined} was recorded, "
        f"{replay.replayed.combined} came out"
    )
    decided = [d for d in replay.differences if d.decided]
    console.print(
        f"Decisions that differ: {', '.join(f'{d.where} {d.column}' for d in decided) or 'none'}.",
        soft_wrap=True,
    )
    table = new_table("", "", "largest difference", "relative")
    for d in sorted(replay.differences, key=lambda d: -d.relative)[:20]:
        table.add_row(d.where, d.column, f"{d.absolute:.3g}", f"{d.relative:.3g}")
    console.print(table)


def print_futures(futures: Sequence[Run]) -> None:
    """What `jaxecon branch` shows of several futures: what each came to, and their mean with its
    standard error.
    """
    console = Console()
    table = new_table("future", "realised gain", "gain once learnt", "h/week", "run")
    gains = []
    for future in futures:
        if "summary" not in future.manifest:  # stopped before its first year was over
            continue
        row = future.summary["realised"]
        gains.append((row["gain_realised"], row["gain_equilibrium"]))
        hours = f"{row['mean_hours']:.1f}"
        table.add_row(
            str(future.config.seed_of_draws),
            percent_text(gains[-1][0]),
            percent_text(gains[-1][1]),
            hours,
            str(future.path),
        )
    console.print(table)
    for future in futures:
        for found in future.diagnostics:
            line = (
                f"SIGN OF FAILURE in future {future.config.seed_of_draws}: {diagnostic_line(found)}"
            )
            console.print(line, soft_wrap=True)
    for name, values in zip(("realised", "once learnt"), zip(*gains, strict=True), strict=False):
        error = stdev(values) / len(values) ** 0.5 if len(values) > 1 else math.nan
        console.print(
            f"Gain over US federal, {name}: {percent_text(fmean(values))}, standard error "
            f"{percent_error(error)} points."
        )
