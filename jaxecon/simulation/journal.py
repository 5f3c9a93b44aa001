"""The progress and the end of a run, as its manifest records them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from jaxecon.core.errors import UserError, first_line
from jaxecon.storage.provenance import utc_now
from jaxecon.storage.recorder import Recorder


class Journal:
    """Keeps a run's manifest up to date while it is simulated.

    recorder: writes the manifest; None in processes that do not write. begun: while it is False,
    nothing is written, so that a run already on disk stays as it is.
    """

    def __init__(self, recorder: Recorder | None, *, begun: bool) -> None:
        self.begun = begun
        self._recorder = recorder
        earlier = 0.0 if recorder is None else float(recorder.manifest.get("seconds", 0.0))
        self._started = time.monotonic() - earlier

    @property
    def seconds(self) -> float:
        """Seconds that the run has taken, earlier sessions included."""
        return time.monotonic() - self._started

    def noted(self, name: str) -> Any:
        """What the manifest has under a name; None where it has nothing."""
        return None if self._recorder is None else self._recorder.manifest.get(name)

    def note(self, **entries: Any) -> None:
        """Put entries into the manifest, once the run has begun."""
        if self.begun and self._recorder is not None:
            self._recorder.update(**entries)

    @contextmanager
    def final_status(self) -> Iterator[None]:
        """Record in the manifest how the run ended, whatever ended it."""
        try:
            yield
            if self._recorder is not None:
                self._recorder.check_in_place()
        except BaseException as error:
            interrupted = isinstance(error, KeyboardInterrupt)
            why = {} if interrupted else {"error": first_line(error)}
            with suppress(UserError):  # on a full disk the first error is the one to report
                self.note(
                    status="interrupted" if interrupted else "failed", finished=utc_now(), **why
                )
            raise
        if self._recorder is not None:
            status = "stopped" if self._recorder.stopped else "complete"
            self._recorder.update(status=status, finished=utc_now())
