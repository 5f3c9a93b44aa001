"""How many runs go into one compiled program."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxecon.config.settings import Config
from jaxecon.economy.build import skill_nodes
from jaxecon.economy.precision import compute_context
from jaxecon.simulation import batch
from jaxecon.sweeps.batch_points import devices_here

# Chunks of more agents are not faster.
AGENTS_A_CHUNK = {"cpu": 1 << 20, "gpu": 1 << 27}

# A few seconds of work, so that progress is shown often and an interruption loses little.
AGENT_DAYS_A_CHUNK = {"cpu": 1 << 28, "gpu": 1 << 34}

# Fewer agents leave a processor idle, however many days are simulated.
MIN_AGENTS_A_CHUNK = 1 << 15

_PEAK = 3  # peak memory, as a multiple of the size of a chunk's arrays
_SHARE = 0.5  # share of the free memory that a chunk may take


def default_chunk_size(drawn: batch.Case, config: Config) -> int:
    """How many runs of a form one program simulates, over all devices of this machine.

    Args:
        drawn: The run as arrays.
        config: Its configuration.

    Returns:
        As many as fit into memory, but no more than keep the processor busy for a few seconds.
    """
    with compute_context(config):
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
    """Free bytes of all devices together, or of the machine where devices do not report them."""
    reports = [device.memory_stats() or {} for device in devices]
    if all("bytes_limit" in report for report in reports):
        return sum(int(r["bytes_limit"] - r.get("bytes_in_use", 0)) for r in reports)
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        lines = dict(line.split(":") for line in meminfo.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
