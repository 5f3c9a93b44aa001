"""What commands print about a run that has ended."""

from contextlib import closing
from typing import Any

from jaxecon.cli.output.policies import (
    print_missing,
    print_not_converged,
    print_policies,
    print_unfunded,
)
from jaxecon.cli.output.survey import survey_lines
from jaxecon.cli.output.tables import SIMULATED, diagnostic_line, percent_text, usage_line
from jaxecon.cli.output.terminal import Console
from jaxecon.config.settings import Config
from jaxecon.core.text import amount_text, plural
from jaxecon.simulation.language import open_transcript, with_reason
from jaxecon.storage.paths import TRANSCRIPT
from jaxecon.storage.run import Run

MAX_TERMS = 12  # terms that the line of leaders lists


def print_summary(run: Run) -> None:
    """Print the closing tables of a run."""
    console, summary, config = Console(), run.summary, run.config
    print_policies(console, summary["policies"])
    print_missing(console, summary["policies_without_schedule"])
    print_not_converged(console, summary["policies"])
    print_unfunded(console, summary["policies"])
    console.print(_last_year_line(summary, config))
    if short := summary["realised"].get("unfunded"):
        console.print(
            f"As simulated, taxes fell {short:,.0f} $/year per person short of public spending and "
            "the rebate's floor in the last year; the pool paid all the same, so welfare is too "
            "high.",
            soft_wrap=True,
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
        _print_reason(console, run)
    if config.satisfaction.judged:
        console.print(_satisfaction_line(summary, config))
    for line in survey_lines(run):
        console.print(line)
    for diagnostic in run.diagnostics:
        explained = with_reason(diagnostic, run.path / TRANSCRIPT)
        console.print_line(f"SIGN OF FAILURE: {diagnostic_line(explained)}")
    if "stopped" in run.manifest:
        years = summary["realised"]["year"] + 1
        console.print(
            f"STOPPED after {years} of {plural(config.years, 'year')}: {run.manifest['stopped']}"
        )
    console.print_line(f"Run directory: {run.path}  ({summary['seconds']:.0f} s)")


def _print_reason(console: Console, run: Run) -> None:
    """Print the reason that a language model gave for the last rates that it set, if it did."""
    if run.summary["llm"]["engines"] == [SIMULATED] or "plan" not in run.summary["llm"]["by_kind"]:
        return
    with closing(open_transcript(run.path / TRANSCRIPT)) as transcript:
        plans = list(transcript.conversations(kind="plan", year=run.last_year))
    if plans and plans[-1]["reason"] and plans[-1]["status"] != "fallback":
        reason = " ".join(plans[-1]["reason"].split())
        year = plans[-1]["year"] + 1
        console.print(f"Reason given for the rates of year {year}: {reason}")


def _last_year_line(summary: dict[str, Any], config: Config) -> str:
    """The last year as it was simulated, in which people were still learning."""
    last = summary["realised"]
    if last["swf_window"] is None:
        welfare = "minus infinity: somebody had nothing to consume"
    elif last["gain_realised"] is None:
        welfare = amount_text(last["swf_window"])
    else:
        welfare = f"{amount_text(last['swf_window'])} ({percent_text(last['gain_realised'])})"
    return (
        f"As simulated, at the end of the last year: welfare {welfare}; over that year "
        f"{last['mean_hours']:.1f} h/week, Gini {last['gini_consumption']:.3f}. "
        f"Planner {summary['planner']}, one seed ({config.seed})."
    )


def _satisfaction_line(summary: dict[str, Any], config: Config) -> str:
    counted = "counted by" if config.welfare.satisfaction == "counted" else "not counted by"
    return (
        f"{100 * summary['realised']['satisfied_share']:.0f} % are satisfied at the end; the "
        f"penalty is {counted} welfare. "
        "(It changes nobody's best hours: it scales utility and is not chosen.)"
    )


def _elections_line(run: Run) -> str:
    """Who led when; or, with retention, when the workers voted their planner out."""
    if run.config.elections.retention:
        out = [
            e["year"] + 1 for e in run.elections.to_pylist() if e["candidate"] == 1 and e["elected"]
        ]
        if not out:
            return "The workers kept their planner."
        return f"Voted out by the workers before year {', '.join(map(str, out))}."
    years, leaders = (run.years[name].to_pylist() for name in ("year", "leader"))
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
