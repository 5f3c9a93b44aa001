"""The entry point of `jaxecon`: signals are handled before the commands load, which takes seconds.

Until then it loads only the standard library, without a traceback when Ctrl-C comes early.
"""

import signal
import sys
from typing import NoReturn

from jaxecon.core.errors import Interrupted
from jaxecon.simulation.signals import handling_signals, lost_signal


def main() -> None:
    """Load the commands and obey the one that was asked for."""
    try:
        with handling_signals():
            _load_and_obey()
    finally:
        # while Python ends, Ctrl-C ends the process without a traceback
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _load_and_obey() -> None:
    try:
        from jaxecon.cli.app import main as obey

        obey()
    except Interrupted as error:
        _end(error.signal)
    except Exception:
        lost = lost_signal()  # libraries that are being loaded turn its error into one of their own
        if lost is None:
            raise
        _end(lost)


def _end(number: int) -> NoReturn:
    print("jaxecon: interrupted", file=sys.stderr)
    sys.exit(128 + number)
