"""A listener that looks for diagnostics in each year of a run."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from jaxecon.storage.failure_diagnostics import Diagnostic, DiagnosticsMonitor

if TYPE_CHECKING:
    from jaxecon.simulation.ports import Listener
    from jaxecon.storage.usage import LLMUsage


class DiagnosingListener:
    """Calls another listener, and reports a diagnostic when a year's row first shows it.

    monitor: the diagnostics, with the years so far. note: puts entries into the run's manifest.
    explain: adds to a diagnostic what the rows of the years do not say.
    """

    def __init__(
        self,
        listener: "Listener",
        monitor: DiagnosticsMonitor,
        note: Callable[..., None],
        explain: Callable[[Diagnostic], Diagnostic],
    ) -> None:
        self.monitor, self._listener, self._note = monitor, listener, note
        self._explain = explain

    def found(self) -> list[dict[str, Any]]:
        """The diagnostics as the manifest stores them."""
        return [vars(self._explain(diagnostic)) for diagnostic in self.monitor.found]

    def on_days(
        self, year: int, days_done: int, day: Mapping[str, float], usage: "LLMUsage"
    ) -> None:
        self._listener.on_days(year, days_done, day, usage)

    def on_year(self, row: Mapping[str, Any], usage: "LLMUsage") -> None:
        self._listener.on_year(row, usage)
        for diagnostic in self.monitor.see(row):
            self.on_diagnostic(diagnostic)

    def on_diagnostic(self, diagnostic: Diagnostic) -> None:
        self._note(diagnostics=self.found())  # at once, so that a crash does not lose it
        self._listener.on_diagnostic(self._explain(diagnostic))

    def on_note(self, line: str) -> None:
        self._listener.on_note(line)
