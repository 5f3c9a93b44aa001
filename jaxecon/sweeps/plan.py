"""Which points make which chunk."""

import os
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from jaxecon.config.settings import Config
from jaxecon.economy.build import skill_nodes
from jaxecon.economy.first_schedule import first_brackets
from jaxecon.economy.precision import computing
from jaxecon.simulation import batch
from jaxecon.sweeps.chunk import Chunk, devices_here, reason
from jaxecon.sweeps.points import SEEDS, Point, Points

AGENTS_A_CHUNK = {"cpu": 1 << 20, "gpu": 1 << 27}  # more are not faster

AGENT_DAYS_A_CHUNK = {
    "cpu": 1 << 28,
    "gpu": 1 << 34,
}  # some seconds: progress is shown, and little lost, at a chunk's end

MIN_AGENTS_A_CHUNK = 1 << 15  # fewer leave a processor idle, however long they live

_PEAK = 3  # times what a chunk holds

_SHARE = 0.5  # of the memory that is free

MANY_PROGRAMS = 16  # more are minutes of compilation, which a user should know of

_TRIED_VALUES = 16  # of a setting, to see whether others compile apart


# --- the plan -------------------------------------------------------------------------------------


def plan(
    points: Points, lanes: int | None = None, tell: Callable[[int], None] | None = None
) -> tuple[list[Chunk], int]:
    """Chunks of all points, each of one compiled program; and the most brackets of any.

    tell: how many are looked at.

    lanes: runs in a chunk; by default as memory and processor have it.
    """
    groups: dict[Any, list[int]] = {}
    drafts: dict[Any, tuple[batch.Case, Config]] = {}
    errors: dict[int, str] = {}
    brackets, known = 1, None
    for i in range(len(points)):
        point = points[i]
        try:
            shared, _ = points.shared(point)
            if (
                known is not None and known[0] is shared
            ):  # points that differ in their seeds alone have one form
                key: Any = known[1]
            elif shared.needs_engine:
                key = ("run", i)
                brackets = max(brackets, len(first_brackets(shared)[0]))
            else:
                config = points.config(point)
                with computing(config):
                    drawn = batch.draft(config)
                key = ("batch", batch.form(drawn), config.device)
                drafts.setdefault(key, (drawn, config))
                brackets, known = max(brackets, len(drawn.rates)), (shared, key)
        except Exception as error:  # a user's rule may do anything
            key, errors[i] = ("refused",), reason(error)
        groups.setdefault(key, []).append(i)
        if tell is not None:
            tell(i + 1)
    chunks: list[Chunk] = []
    for form, (key, members) in enumerate(groups.items()):
        kind = key[0]
        width = (
            min(lanes or _lanes(*drafts[key]), len(members)) if kind == "batch" else len(members)
        )
        for start in range(0, len(members), width):
            these = tuple(members[start : start + width])
            wrong = tuple(errors[i] for i in these) if kind == "refused" else ()
            chunks.append(Chunk(len(chunks), kind, these, width, form, wrong))
    return chunks, brackets


def compiled_apart(points: Points, base: int) -> list[str]:
    """Which of the settings that vary are part of the compiled program, so that other values
    compile anew.

    base: a point that can be lived.
    """

    def form_of(settings: Mapping[str, Any]) -> Any:
        try:
            config = points.config(Point(base, dict(settings)))
            with computing(config):
                return batch.form(batch.draft(config)), config.device
        except (
            Exception
        ):  # a value that is refused, or one of a language model's settings: no program
            return None

    given = points[base].settings
    known = form_of(given)
    found = []
    for name in given:
        others = (
            (value for value in points.values(name) if value != given[name])
            if name not in SEEDS
            else ()
        )
        forms = (form_of({**given, name: value}) for value in islice(others, _TRIED_VALUES))
        if any(form is not None and form != known for form in forms):
            found.append(name)
    return found


def _lanes(drawn: batch.Case, config: Config) -> int:
    """How many runs of this form one program takes at a time, over all devices of this machine."""
    with computing(config):
        each, devices = batch.bytes_of(drawn, skill_nodes(config)), devices_here()
    agents = sum(size for _, size in drawn.economy.sizes)
    by_memory = int(_SHARE * _free_memory(devices) / (_PEAK * each))
    platform = devices[0].platform
    by_processor = AGENTS_A_CHUNK.get(platform, AGENTS_A_CHUNK["gpu"]) // agents
    days = AGENT_DAYS_A_CHUNK.get(platform, AGENT_DAYS_A_CHUNK["gpu"]) // (
        agents * drawn.years * drawn.days
    )
    by_time = max(days, MIN_AGENTS_A_CHUNK // agents)
    return max(1, min(by_memory, by_processor, by_time))


def _free_memory(devices: Sequence[Any]) -> int:
    """Bytes, of all together."""
    stats = [device.memory_stats() or {} for device in devices]
    if all("bytes_limit" in held for held in stats):
        return sum(int(held["bytes_limit"] - held.get("bytes_in_use", 0)) for held in stats)
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        lines = dict(line.split(":") for line in meminfo.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def cut_chunks(chunks: Sequence[Chunk], width: int, number: int) -> list[Chunk]:
    """The points of chunks of one form in narrower ones."""
    parts = [
        chunk.points[i : i + width] for chunk in chunks for i in range(0, len(chunk.points), width)
    ]
    return [
        Chunk(number + i, chunks[0].kind, part, width, chunks[0].form)
        for i, part in enumerate(parts)
    ]
