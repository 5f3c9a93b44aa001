"""How benchmarks measure."""

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax

from jaxecon.records import environment


def seconds(call: Callable[[], object], *, repeats: int = 5, at_least: float = 0.2) -> list[float]:
    """Wall seconds of each of `repeats` (or more, until `at_least` seconds are spent) finished calls, after one warm-up."""
    jax.block_until_ready(call())
    taken: list[float] = []
    while len(taken) < repeats or sum(taken) < at_least:
        begun = time.perf_counter()
        jax.block_until_ready(call())
        taken.append(time.perf_counter() - begun)
    return taken


def compile_seconds(lower: Callable[[], Any]) -> float:
    """Wall seconds of tracing and compiling; `lower` returns a jax Lowered."""
    begun = time.perf_counter()
    lower().compile()
    return time.perf_counter() - begun


def report(**figures: Any) -> None:
    """Print one JSON line; lists of seconds become their median, with the spread beside it."""
    line: dict[str, Any] = {}
    for name, value in figures.items():
        if isinstance(value, list):
            line[name] = round(statistics.median(value), 6)
            line[f"{name}_range"] = [round(min(value), 6), round(max(value), 6)]
        else:
            line[name] = round(value, 6) if isinstance(value, float) else value
    print(json.dumps(line), flush=True)


def describe_machine() -> None:
    """Print where the figures that follow were taken."""
    found = environment()
    print(
        json.dumps({"machine": found["hardware"], "versions": found["versions"], "git_revision": found["git_revision"]}),
        flush=True,
    )
