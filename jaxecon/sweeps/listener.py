"""Who is told how a sweep goes."""

from typing import Protocol

from jaxecon.sweeps.chunk import Chunk


class Listener(Protocol):
    """Who is told how a sweep goes."""

    def note(self, line: str) -> None: ...

    def planning(self, looked_at: int, total: int) -> None: ...

    def begin(self, total: int, done: int) -> None: ...

    def lived(self, points: int, failed: int) -> None: ...

    def halved(self, chunk: Chunk, lanes: int) -> None: ...


class SilentSweepListener:
    def note(self, line: str) -> None:
        return

    def planning(self, looked_at: int, total: int) -> None:
        return

    def begin(self, total: int, done: int) -> None:
        return

    def lived(self, points: int, failed: int) -> None:
        return

    def halved(self, chunk: Chunk, lanes: int) -> None:
        return
