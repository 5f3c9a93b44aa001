"""What SIGINT and SIGTERM do during a run."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from jaxecon.core.errors import Interrupted


class _Signals:
    """What SIGINT and SIGTERM do: stop the simulation once there is one."""

    def __init__(self) -> None:
        self.stop: Callable[[int], None] | None = None
        self._received = False

    def __call__(self, signum: int, frame: object) -> None:
        if self.stop is None:
            raise Interrupted(signum)
        if self._received:  # a second signal: the user is in a hurry
            raise KeyboardInterrupt
        self._received = True
        self.stop(signum)


@contextmanager
def handling_signals() -> Iterator[_Signals]:
    """Handlers for the duration of a run; only a process's main thread receives signals."""
    handler = _Signals()
    if threading.current_thread() is not threading.main_thread():
        yield handler
        return
    old = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield handler
    finally:
        for number, before in old.items():
            signal.signal(number, before)
