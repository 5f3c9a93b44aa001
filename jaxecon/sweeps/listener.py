"""The listener of a sweep's progress."""

from typing import Protocol

from jaxecon.sweeps.chunk import Chunk


class SweepListener(Protocol):
    """Receives the progress of a sweep, for example to show it.

    What a method raises ends the sweep; finished chunks stay on disk.
    """

    def on_note(self, line: str) -> None:
        """There is one line for the user."""
        ...

    def on_plan(self, examined: int, total: int) -> None:
        """`examined` of `total` points have been looked at, before the sweep begins."""
        ...

    def on_begin(self, total: int, done: int) -> None:
        """The sweep begins or continues: `done` of `total` points are finished."""
        ...

    def on_chunk(self, points: int, failed: int) -> None:
        """A chunk of `points` points is on disk, of which `failed` have failed."""
        ...

    def on_split(self, chunk: Chunk, size: int) -> None:
        """`chunk` did not fit into memory: its form continues with `size` runs."""
        ...


class SilentSweepListener:
    """A SweepListener that does nothing: a base for those that need some of the methods."""

    def on_note(self, line: str) -> None:
        return

    def on_plan(self, examined: int, total: int) -> None:
        return

    def on_begin(self, total: int, done: int) -> None:
        return

    def on_chunk(self, points: int, failed: int) -> None:
        return

    def on_split(self, chunk: Chunk, size: int) -> None:
        return
