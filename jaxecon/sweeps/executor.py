"""Where chunks are simulated."""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Protocol

from jaxecon.core.errors import UserError
from jaxecon.sweeps.chunk import Chunk, ChunkTooLarge
from jaxecon.sweeps.rows import ChunkRows
from jaxecon.sweeps.run_point import SharedEngines
from jaxecon.sweeps.task import Task


class Executor(Protocol):
    """Where the chunks of a sweep are simulated: in this process, or on other machines."""

    def connect(self) -> None:
        """Connect to what simulates the chunks. Called before anything is written.

        Raises:
            UserError: there is no connection.
        """
        ...

    def run(
        self, task: Task, waiting: deque[Chunk]
    ) -> Iterator[tuple[Chunk, ChunkRows | ChunkTooLarge]]:
        """Simulate chunks with `task.simulate`.

        Args:
            task: What simulates a chunk; can be pickled.
            waiting: The chunks. Each is taken from the left when its turn comes. The caller may
                put others in between two results.

        Returns:
            Each chunk with its rows, in any order, or with ChunkTooLarge: the caller then puts
            its points into `waiting` again, in smaller chunks.

        Raises:
            SweepStopped: an error that ends the sweep.
        """
        ...


class LocalExecutor:
    """Simulates one chunk after another in this process."""

    def connect(self) -> None:
        return

    def run(
        self, task: Task, waiting: deque[Chunk]
    ) -> Iterator[tuple[Chunk, ChunkRows | ChunkTooLarge]]:
        with SharedEngines() as engines:
            while waiting:
                chunk = waiting.popleft()
                yield chunk, task.simulate(chunk, engines)


def check_executor(executor: Executor, chunks: Sequence[Chunk]) -> None:
    """Raise UserError where points with language models would leave this machine."""
    if not isinstance(executor, LocalExecutor) and any(chunk.kind == "run" for chunk in chunks):
        raise UserError("--executor: points with language models need local")
