"""Handling of the signals that end a command: Ctrl-C, SIGTERM and SIGHUP (a closed terminal)."""

import _thread
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from jaxecon.core.errors import Interrupted

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# A closing terminal sends SIGHUP twice, and a machine that shuts down sends SIGTERM too: signals
# within so many seconds are one request.
_ONE_REQUEST_SECONDS = 1.0

# A command that a signal interrupts may hang in a library's own tidying: vLLM's does where its
# engine is just starting.
_TIDYING_SECONDS = 40.0

# Until a signal is raised once more whose error Python ignored, as it does in functions that it
# calls by itself: those of the garbage collector, of weak references, and __del__.
_AGAIN_SECONDS = 0.02


class _Signals:
    """The handler of the signals: stops the simulation once there is one.

    The first raises Interrupted, or asks the simulation to stop. The second is from a user in a
    hurry and raises Interrupted in any case. The third ends the process at once.
    """

    def __init__(self) -> None:
        self.stop: Callable[[int], None] | None = None
        self.received: int | None = None  # the last signal
        self._requests = 0
        self._last = 0.0
        self._hurry: threading.Timer | None = None
        self._ignored = False
        self._hooks = sys.unraisablehook, sys.excepthook  # of the user

    def __call__(self, signum: int, frame: object) -> None:
        now = time.monotonic()
        again, self._ignored = self._ignored, False
        if self._requests and now - self._last < _ONE_REQUEST_SECONDS and not again:
            return
        if again:
            self._requests -= 1
        self._requests, self._last, self.received = self._requests + 1, now, signum
        if self._requests > 2:
            os._exit(128 + signum)
        if self.stop is None or self._requests > 1:
            if self._hurry is None and self.stop is None:
                self._hurry = threading.Timer(_TIDYING_SECONDS, _end_at_once, (signum,))
                self._hurry.daemon = True
                self._hurry.start()
            raise Interrupted(signum)
        self.stop(signum)

    def on_ignored(self, unraisable: Any) -> None:
        """Raise the signal again where Python ignored its error (a hook of `sys`)."""
        error = unraisable.exc_value
        if not isinstance(error, Interrupted):
            self._hooks[0](unraisable)
            return
        self._ignored = True
        again = threading.Timer(_AGAIN_SECONDS, _thread.interrupt_main, (error.signal,))
        again.daemon = True
        again.start()

    def on_printed(self, kind: type[BaseException], error: BaseException, frames: Any) -> None:
        """Print an error, but no signal's: libraries in C that import NumPy print it (a hook)."""
        if not isinstance(error, Interrupted):
            self._hooks[1](kind, error, frames)

    def done(self) -> None:
        """The command has ended in good order."""
        if self._hurry is not None:
            self._hurry.cancel()


def _end_at_once(signum: int) -> None:
    print("jaxecon: interrupted", file=sys.stderr, flush=True)
    os._exit(128 + signum)


def lost_signal() -> int | None:
    """The signal that the present handlers have received; None if they have none.

    Where a command goes on or fails after it, something has swallowed the error that it raised.
    """
    handlers = [signal.getsignal(number) for number in ENDING]
    received = [handler.received for handler in handlers if isinstance(handler, _Signals)]
    return next((number for number in received if number is not None), None)


@contextmanager
def handling_signals() -> Iterator[_Signals]:
    """Install the handlers for a command or a run; in threads other than the main one, do nothing.

    A signal that this process was started to ignore (by nohup, or in the background) stays ignored.

    Raises Interrupted where a signal came earlier in the command and a library lost the error: some
    swallow every error while they are imported.
    """
    handler = _Signals()
    if threading.current_thread() is not threading.main_thread():
        yield handler
        return
    lost = lost_signal()
    if lost is not None:
        raise Interrupted(lost)
    old = {number: signal.getsignal(number) for number in ENDING}
    # None: a handler that is not Python's and could not be put back
    old = {number: before for number, before in old.items() if before not in (signal.SIG_IGN, None)}
    hooks = sys.unraisablehook, sys.excepthook
    sys.unraisablehook, sys.excepthook = handler.on_ignored, handler.on_printed
    for number in old:
        signal.signal(number, handler)
    try:
        yield handler
    finally:
        handler.done()
        sys.unraisablehook, sys.excepthook = hooks
        for number, before in old.items():
            signal.signal(number, before)
