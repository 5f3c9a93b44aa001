"""Where chunks are run."""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Protocol

from jaxecon.core.errors import UserError
from jaxecon.sweeps.chunk import Chunk, ChunkTooLarge, Engines, Task
from jaxecon.sweeps.rows import ChunkRows


class Executor(Protocol):
    """Where chunks are lived."""

    def connect(self) -> None:
        """Before anything is written. Raises UserError."""
        ...

    def run(
        self, task: "Task", waiting: deque[Chunk]
    ) -> Iterator[tuple[Chunk, ChunkRows | ChunkTooLarge]]:
        """Each of the chunks, in any order; more may be put into `waiting` between two."""
        ...


class Local:
    """One after another, in this process."""

    def connect(self) -> None:
        return

    def run(
        self, task: "Task", waiting: deque[Chunk]
    ) -> Iterator[tuple[Chunk, ChunkRows | ChunkTooLarge]]:
        with Engines() as engines:
            while waiting:
                chunk = waiting.popleft()
                yield chunk, task.live(chunk, engines)


def check_executor(executor: Executor, chunks: Sequence[Chunk]) -> None:
    if not isinstance(executor, Local) and any(chunk.kind == "run" for chunk in chunks):
        raise UserError("--executor: points with language models need local")
