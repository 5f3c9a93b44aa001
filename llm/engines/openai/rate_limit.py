"""How fast a server may be asked."""

import asyncio
import math
import time
from collections.abc import Mapping
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


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """The pause that a server asks for, in seconds; None where it asks for none.

    Args:
        headers: of its reply, by lower-case name. Retry-After has seconds or a date,
            retry-after-ms has milliseconds.
    """
    milliseconds, said = _number(headers.get("retry-after-ms")), headers.get("retry-after")
    if milliseconds is not None:
        seconds: float | None = milliseconds / 1000
    elif _number(said) is not None or said is None:
        seconds = _number(said)
    else:
        seconds = _seconds_until(said)
    return None if seconds is None else max(seconds, 0.0)


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _seconds_until(date: str) -> float | None:
    try:
        when = parsedate_to_datetime(date)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return (when - datetime.now(UTC)).total_seconds()
