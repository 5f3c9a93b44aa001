"""What an executor simulates: one chunk of a sweep, here or on another machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from jaxecon.core.errors import is_out_of_memory
from jaxecon.sweeps.batch_points import simulate_points
from jaxecon.sweeps.chunk import Chunk, ChunkTooLarge, SweepStopped, error_line
from jaxecon.sweeps.points import Points
from jaxecon.sweeps.rows import ChunkRows, RowBuilder
from jaxecon.sweeps.run_point import SharedEngines, simulate_point


@dataclass(frozen=True)
class Task:
    """All that is needed to simulate any chunk of a sweep; can be sent to other machines.

    Args:
        points: All points of the sweep.
        folder: The sweep's folder, an absolute path.
        brackets: The largest number of tax brackets of any point.
        force: Continue runs that another version of jaxecon began.
    """

    points: Points
    folder: Path
    brackets: int
    force: bool = False

    @cached_property
    def rows(self) -> RowBuilder:
        """The builder of the rows of the sweep's tables."""
        return RowBuilder(self.points, self.brackets)

    def simulate(self, chunk: Chunk, engines: SharedEngines) -> ChunkRows | ChunkTooLarge:
        """Simulate a chunk and return its rows; a point that fails has a row with its error.

        Args:
            chunk: What to simulate.
            engines: Language models, started when a run needs them and kept for the next chunk.

        Returns:
            The rows, or ChunkTooLarge where several runs at once do not fit into memory.

        Raises:
            SweepStopped: an error that concerns more than this chunk.
        """
        if chunk.kind == "refused":
            return self.failed(chunk, chunk.errors)
        points, errors = [self.points[i] for i in chunk.points], dict[int, str]()
        try:
            if chunk.kind == "run":
                years = simulate_point(
                    points[0], self.points, self.rows, self.folder, engines, force=self.force
                )
            else:
                years, errors = simulate_points(points, self.points, self.rows, chunk.size)
        except SweepStopped:
            raise
        except Exception as error:
            if not is_out_of_memory(error):
                return self.failed(chunk, error_line(error))
            if chunk.size > 1:
                return ChunkTooLarge()
            return self.failed(chunk, "out of memory: lower the cohorts' sizes")
        return ChunkRows(self.rows.of_points(points, years, errors), years)

    def failed(self, chunk: Chunk, why: str | Sequence[str]) -> ChunkRows:
        """The rows of a chunk that could not be simulated.

        why: one reason for all its points, or one for each.
        """
        points = [self.points[i] for i in chunk.points]
        each = [why] * len(points) if isinstance(why, str) else why
        errors, years = dict(zip(chunk.points, each, strict=True)), self.rows.no_years()
        return ChunkRows(self.rows.of_points(points, years, errors), years)
