"""Which points make which chunk."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from jaxecon.config.settings import Config
from jaxecon.economy.first_schedule import first_brackets
from jaxecon.economy.precision import compute_context
from jaxecon.simulation import batch
from jaxecon.sweeps.chunk import Chunk, error_line
from jaxecon.sweeps.chunk_size import default_chunk_size
from jaxecon.sweeps.points import SEEDS, Point, Points

MANY_PROGRAMS = 16  # more take minutes to compile: the user is told

_TRIED_VALUES = 16  # per setting, to find out whether other values need another program


@dataclass(frozen=True)
class Plan:
    """The chunks of a sweep.

    Args:
        chunks: All points, each in one chunk.
        brackets: The largest number of tax brackets of any point.
    """

    chunks: list[Chunk]
    brackets: int


@dataclass
class _Group:
    """Points for the same chunks: of one compiled program, of one run, or refused.

    example: the first point as arrays, and its configuration. errors: those of refused points.
    """

    kind: str
    example: tuple[batch.Case, Config] | None = None
    points: list[int] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def chunk_size(self, asked: int | None) -> int:
        """Runs in one chunk. asked: the user's choice, if any."""
        if self.example is None:
            return len(self.points)
        return min(asked or default_chunk_size(*self.example), len(self.points))


def make_plan(
    points: Points,
    chunk_size: int | None = None,
    on_point: Callable[[int], None] | None = None,
) -> Plan:
    """Put all points into chunks, each of one compiled program.

    Args:
        points: All points of the sweep.
        chunk_size: Runs in a chunk; by default as many as suit memory and processor.
        on_point: Called with the number of points examined so far.
    """
    groups, brackets = _group_by_program(points, on_point)
    chunks: list[Chunk] = []
    for form, group in enumerate(groups):
        size = group.chunk_size(chunk_size)
        for start in range(0, len(group.points), size):
            end = start + size
            members, errors = tuple(group.points[start:end]), tuple(group.errors[start:end])
            chunks.append(Chunk(len(chunks), group.kind, members, size, form, errors))
    return Plan(chunks, brackets)


def _group_by_program(
    points: Points, on_point: Callable[[int], None] | None
) -> tuple[list[_Group], int]:
    """Groups in the order of their first points; and the largest number of brackets."""
    groups: dict[Hashable, _Group] = {}
    brackets = 1
    last: tuple[Config, _Group] | None = None
    for i in range(len(points)):
        point = points[i]
        try:
            shared, _ = points.shared(point)
            if last is not None and last[0] is shared:  # only the seed differs: the same program
                group = last[1]
            elif shared.needs_engine:
                group = groups.setdefault(("run", i), _Group("run"))
                brackets = max(brackets, len(first_brackets(shared)[0]))
            else:
                config = points.config(point)
                with compute_context(config):
                    drawn = batch.draft(config)
                key = "batch", batch.form(drawn), config.device
                group = groups.setdefault(key, _Group("batch", (drawn, config)))
                brackets, last = max(brackets, len(drawn.rates)), (shared, group)
        except Exception as error:  # a user's rule may raise anything
            group = groups.setdefault("refused", _Group("refused"))
            group.errors.append(error_line(error))
        group.points.append(i)
        if on_point is not None:
            on_point(i + 1)
    return list(groups.values()), brackets


def compiled_apart(points: Points, base: int) -> list[str]:
    """The varied settings that are part of the compiled program: other values need another one.

    base: index of a point that can be simulated.
    """

    def form_of(settings: Mapping[str, Any]) -> Any:
        try:
            config = points.config(Point(base, dict(settings)))
            with compute_context(config):
                return batch.form(batch.draft(config)), config.device
        except Exception:  # a refused value, or a language model's: no program
            return None

    settings = points[base].settings
    base_form = form_of(settings)
    names = []
    for name, value in settings.items():
        if name in SEEDS:
            continue
        others = (other for other in points.values(name) if other != value)
        forms = (form_of({**settings, name: other}) for other in islice(others, _TRIED_VALUES))
        if any(form is not None and form != base_form for form in forms):
            names.append(name)
    return names


def cut_chunks(chunks: Sequence[Chunk], size: int, number: int) -> list[Chunk]:
    """Cut chunks of one form into smaller ones. number: that of the first new chunk."""
    parts = [
        chunk.points[i : i + size] for chunk in chunks for i in range(0, len(chunk.points), size)
    ]
    return [
        Chunk(number + i, chunks[0].kind, part, size, chunks[0].form)
        for i, part in enumerate(parts)
    ]
