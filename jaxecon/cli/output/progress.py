"""Progress of a command, on standard error."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TimeElapsedColumn
from rich.text import Text

from jaxecon.cli.output.tables import diagnostic_line, percent_text, share_text
from jaxecon.cli.output.terminal import Console, PlainColumn
from jaxecon.config.settings import Config
from jaxecon.core.text import amount_text, plural

if TYPE_CHECKING:
    from jaxecon.storage.failure_diagnostics import Diagnostic
    from jaxecon.storage.usage import LLMUsage
    from jaxecon.sweeps.chunk import Chunk


def _progress_bar(console: Console, *columns: PlainColumn) -> Progress:
    """A progress line that disappears at the end. columns: shown to the right of the bar."""
    return Progress(
        SpinnerColumn(),
        PlainColumn("{task.description}"),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        *columns,
        console=console,
        transient=True,
    )


_STATISTICS = "{task.fields[statistics]}"


class RunProgress:
    """The progress of a run; a listener of the simulation.

    config: the run's. folder: named in the heading. checked: whether the run can begin; otherwise
    the heading waits for `announce`, so that a refusal is all that is printed.
    """

    def __init__(self, config: Config, folder: Path, *, checked: bool = True) -> None:
        self._config, self._folder, self._checked = config, folder, checked
        self._days = config.year.days
        self._console = Console(stderr=True)
        self._bar = _progress_bar(self._console, PlainColumn(_STATISTICS))
        self._task: TaskID | None = None

    def announce(self) -> None:
        """Print the heading: who takes part, for how long, and where it is written."""
        config = self._config
        agents = ", ".join(f"{c.size:,} {c.name}" for c in config.cohorts)
        self._console.print_line(
            f"{agents}; {config.planner_kind} planner; {plural(config.years, 'year')} of "
            f"{plural(self._days, 'day')} -> {self._folder}"
        )

    def __enter__(self) -> "RunProgress":
        if self._checked:
            self.announce()
        self._bar.__enter__()
        local = [s.model for s in self._config.servings.values() if s.engine == "vllm"]
        if local:
            names = ", ".join(sorted(set(local)))
            self._console.print_line(f"starting vLLM ({names}), about half a minute")
        model = f"starting {', '.join(local)}" if local else "compiling"
        self._task = self._bar.add_task(model, total=self._config.years * self._days, statistics="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.__exit__(kind, error, trace)

    def on_days(
        self, year: int, days_done: int, day: Mapping[str, float], usage: "LLMUsage"
    ) -> None:
        assert self._task is not None
        statistics = f"welfare {amount_text(day['swf_private'])}"
        if usage.calls:
            rate = usage.calls / max(usage.seconds, 1e-9)
            cached = share_text(usage.cached_tokens, usage.prompt_tokens)
            statistics += f"  {rate:.1f} requests/s  {cached} cached"
        self._bar.update(
            self._task,
            completed=year * self._days + days_done,
            description=f"year {year + 1}/{self._config.years} day {days_done}/{self._days}",
            statistics=statistics,
        )

    def on_year(self, row: Mapping[str, Any], usage: "LLMUsage") -> None:
        if self._config.years <= 50 and self._console.is_terminal:
            rates = "/".join(f"{100 * v:.0f}" for k, v in row.items() if k.startswith("rate_"))
            welfare = amount_text(row["swf_window"])
            self._console.print(
                f"year {row['year'] + 1}: {rates} %, welfare {welfare}, gain "
                f"{percent_text(row['gain_realised'])} "
                f"(at equilibrium: {percent_text(row['gain_equilibrium'])})"
            )

    def on_diagnostic(self, diagnostic: "Diagnostic") -> None:
        self._console.print_line(f"SIGN OF FAILURE: {diagnostic_line(diagnostic)}")

    def on_note(self, line: str) -> None:
        self._console.print_line(line)


@contextmanager
def spinner(what: str) -> Iterator[None]:
    """Show a spinner while something takes seconds."""
    with Console(stderr=True).status(Text(what)):
        yield


@contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how many of `total` are done. Yields a function that is called with this number."""
    with _progress_bar(Console(stderr=True)) as bar:
        task = bar.add_task(f"{what} 1/{total}", total=total)
        yield lambda done: bar.update(
            task, completed=done, description=f"{what} {min(done + 1, total)}/{total}"
        )


class SweepProgress:
    """The progress of a sweep; a SweepListener. title: a line above it."""

    def __init__(self, title: str | None = None) -> None:
        self._console = Console(stderr=True)
        self._bar = _progress_bar(self._console, PlainColumn(_STATISTICS))
        self._task = self._bar.add_task("planning", total=None, statistics="")
        self._begun, self._before, self._done, self._failed = 0.0, 0, 0, 0
        if title is not None:
            self.on_note(title)

    def __enter__(self) -> "SweepProgress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar.live.is_started:
            self._bar.stop()

    def on_note(self, line: str) -> None:
        self._console.print_line(line)

    def on_plan(self, examined: int, total: int) -> None:
        self._bar.start()  # only once there is a sweep to plan
        self._bar.update(self._task, completed=examined, total=total)

    def on_begin(self, total: int, done: int) -> None:
        self._bar.start()
        self._begun, self._before, self._done = time.monotonic(), done, done
        if done:
            self.on_note(f"continuing: {done:,} of {plural(total, 'point')} finished")
        self._bar.update(
            self._task, completed=done, total=total, description=f"point {done:,}/{total:,}"
        )

    def on_chunk(self, points: int, failed: int) -> None:
        self._done, self._failed = self._done + points, self._failed + failed
        total = int(self._bar.tasks[self._task].total or 0)
        rate = (self._done - self._before) / max(time.monotonic() - self._begun, 1e-9)
        left = (total - self._done) / rate
        statistics = f"{rate:,.1f} points/s, {left:,.0f} s left" + (
            f", {self._failed:,} failed" if self._failed else ""
        )
        self._bar.update(
            self._task,
            completed=self._done,
            description=f"point {self._done:,}/{total:,}",
            statistics=statistics,
        )

    def on_split(self, chunk: "Chunk", size: int) -> None:
        self.on_note(
            f"out of memory: {chunk.size:,} runs at a time do not fit, continuing with {size:,}"
        )
