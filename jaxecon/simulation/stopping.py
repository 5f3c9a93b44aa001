"""A signal's request that a run stop, and where the run obeys it."""

from collections.abc import Iterator
from contextlib import contextmanager

from jaxecon.core import processes
from jaxecon.core.errors import Interrupted


class StopRequest:
    """Whether a signal has asked the run to stop.

    Several processes must stop at the same place, so there a signal waits for the next pause.
    """

    def __init__(self) -> None:
        self._signal: int | None = None
        self._interruptible = False

    def set(self, signal: int) -> None:
        """Ask the run to stop. Raises Interrupted at once while the run waits for decisions."""
        self._signal = signal
        if self._interruptible:
            self._raise_if_alone()

    @contextmanager
    def while_waiting(self) -> Iterator[None]:
        """Let a signal interrupt at once while others decide; the state is still the one before."""
        self._interruptible = True
        try:
            self._raise_if_alone()
            yield
        finally:
            self._interruptible = False

    def agree(self, due: bool) -> tuple[bool, int | None]:
        """Agree with all processes whether to write a checkpoint, and which signal to obey.

        due: whether a checkpoint is due by this process's clock; the main process's counts.
        """
        said = processes.gather(due, self._signal or 0)
        return bool(said[0, 0]), int(said[:, 1].max()) or None

    def _raise_if_alone(self) -> None:
        if self._signal is not None and not processes.has_several_processes():
            raise Interrupted(self._signal)
