"""Handling of SIGINT and SIGTERM during a run."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from jaxecon.core.errors import Interrupted


class _Signals:
    """The handler of SIGINT and SIGTERM: stops the simulation once there is one."""

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
    """Install the handlers during a run; in threads other than the main one, do nothing."""
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
