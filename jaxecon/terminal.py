"""What a run shows on a terminal: progress while it lives, tables when it ends."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from jaxecon.config import Config
from jaxecon.records import Run
from jaxecon.words import amount_text

if TYPE_CHECKING:
    from jaxecon.simulation import LLMUsage

_POLICIES = {"us_federal": "US federal", "best_flat": "best flat", "final": "planner"}


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
        model = f"starting {self._config.llm.model}" if self._config.needs_engine else "compiling"
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


def print_summary(run: Run) -> None:
    """The closing tables of a run."""
    console = Console()
    summary, config = run.summary, run.config
    realised = summary["realised"]
    console.print("Once everybody has learnt the schedule (gain over US federal):")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("", "rates, %", "welfare", "gain", "h/week", "Gini", "rebate"):  # fits 80 columns
        table.add_column(name, justify="left" if name in ("", "rates, %") else "right", overflow="fold")
    for row in summary["policies"]:
        table.add_row(*_policy_cells(row))
    console.print(table)
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
    if summary["llm"]:
        console.print(_usage_line(summary["llm"]))
    console.print(f"Run directory: {run.path}  ({summary['seconds']:.0f} s)", soft_wrap=True)


def _policy_cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        _POLICIES[row["policy"]],
        "/".join(f"{100 * r:.3g}" for r in row["rates"]),
        amount_text(row["welfare"]),
        _percent(row["gain"]),
        f"{row['hours']:.1f}",
        f"{row['gini_consumption']:.3f}",
        f"{row['rebate']:,.0f}",
    )


def _usage_line(usage: Mapping[str, Any]) -> str:
    kinds = "; ".join(
        f"{kind}: " + ", ".join(f"{n} {status}" for status, n in counts.items()) for kind, counts in usage["by_kind"].items()
    )
    return (
        f"Language model: {usage['calls']:,} calls, {usage['statuses'].get('fallback', 0)} fallbacks ({kinds}); "
        f"{usage['prompt_tokens']:,} tokens in ({_share(usage['cached_tokens'], usage['prompt_tokens'])} cached), "
        f"{usage['completion_tokens']:,} out, {usage['calls'] / max(usage['seconds'], 1e-9):.1f} requests/s."
    )


def _percent(fraction: float) -> str:
    """With sign and two digits, and without a negative zero."""
    return f"{round(100 * fraction, 2) + 0.0:+.2f} %"


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "0 %"
