"""Who is told how a run goes."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from jaxecon.storage.diagnostics import Diagnostic, DiagnosticsMonitor

if TYPE_CHECKING:
    from jaxecon.simulation.ports import Listener
    from jaxecon.storage.usage import LLMUsage


class DiagnosingListener:
    """A listener that tells another one what it hears, and when a failure signature is first seen.

    Implements Listener.
    """

    def __init__(
        self, listener: "Listener", watch: DiagnosticsMonitor, note: Callable[..., None]
    ) -> None:
        self.watch, self._listener, self._note = watch, listener, note

    def found(self) -> list[dict[str, Any]]:
        """As the manifest has them."""
        return [vars(signature) for signature in self.watch.found]

    def on_days(
        self, year: int, days_done: int, day: Mapping[str, float], usage: "LLMUsage"
    ) -> None:
        self._listener.on_days(year, days_done, day, usage)

    def on_year(self, row: Mapping[str, Any], usage: "LLMUsage") -> None:
        self._listener.on_year(row, usage)
        for signature in self.watch.see(row):
            self.on_signature(signature)

    def on_signature(self, found: Diagnostic) -> None:
        self._note(signatures=self.found())  # a crash must not take the news away
        self._listener.on_signature(found)
