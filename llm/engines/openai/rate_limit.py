"""How fast a server may be asked."""

import asyncio
import math
import time
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


class RateLimit:
    """Lets a number of units (requests or tokens) through per minute, spread evenly.

    A request for more than a minute's share gets through, and the next one waits longer for it.
    """

    def __init__(self, per_minute: float) -> None:
        self._seconds_each = 60.0 / per_minute
        self._free = 0.0
        self._turn, self._corrected = asyncio.Lock(), asyncio.Event()

    async def take(self, amount: float) -> None:
        """Wait until `amount` units may be used."""
        async with self._turn:
            while (wait := self._free - time.monotonic()) > 0:
                self._corrected.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._corrected.wait()
            self._free = time.monotonic() + amount * self._seconds_each

    def correct(self, amount: float) -> None:
        """Correct an estimate that was `amount` units too low (or, if negative, too high)."""
        self._free += amount * self._seconds_each
        self._corrected.set()


def retry_after_seconds(header: str | None) -> float | None:
    """The header Retry-After in seconds, from seconds or a date; None where it is neither."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            when = parsedate_to_datetime(header)
        except ValueError:
            return None
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        seconds = (when - datetime.now(UTC)).total_seconds()
    return max(seconds, 0.0) if math.isfinite(seconds) else None
