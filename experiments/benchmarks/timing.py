"""How benchmarks measure."""

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxecon.core.compilation import WIDE_VECTORS
from jaxecon.economy import year as economy_year
from jaxecon.economy.days import simulate_days
from jaxecon.economy.state import Day, Economy, EconomyState
from jaxecon.kernels.taxation import TaxSchedule
from jaxecon.storage.provenance import environment

# As a run compiles them.
start_year = jax.jit(economy_year.start_year, compiler_options=WIDE_VECTORS)
compiled_days = jax.jit(
    simulate_days, static_argnames="days", donate_argnums=(2, 3), compiler_options=WIDE_VECTORS
)


def seconds(call: Callable[[], object], *, repeats: int = 5, at_least: float = 0.2) -> list[float]:
    """Wall seconds of each of `repeats` (or more, until `at_least` seconds are spent) finished
    calls, after one warm-up.
    """
    jax.block_until_ready(call())
    taken: list[float] = []
    while len(taken) < repeats or sum(taken) < at_least:
        begun = time.perf_counter()
        jax.block_until_ready(call())
        taken.append(time.perf_counter() - begun)
    return taken


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Wall seconds of one call that ends when its work is done, and what it returns."""
    begun = time.perf_counter()
    result = work()
    return time.perf_counter() - begun, result


def year_seconds(
    economy: Economy, first: EconomyState, schedule: TaxSchedule, year: int, days: int
) -> tuple[float, float, Day]:
    """Wall seconds of a year's tables and of some of its days, and those days.

    first: the state before, which survives.
    """
    start_s, (state, plan, sums) = timed(
        lambda: jax.block_until_ready(start_year(economy, first, schedule, year))
    )
    # donated below: `first` must survive, whether or not what start_year leaves alone is still its
    # own
    state = jax.block_until_ready(jax.tree.map(jnp.copy, state))
    days_s, (_, _, record) = timed(
        lambda: jax.block_until_ready(compiled_days(economy, plan, state, sums, days))
    )
    return start_s, days_s, record


def compile_seconds(lower: Callable[[], Any]) -> float:
    """Wall seconds of tracing and compiling; `lower` returns a jax Lowered."""
    begun = time.perf_counter()
    lower().compile()
    return time.perf_counter() - begun


def report(**measured: Any) -> None:
    """Print one JSON line; lists of seconds become their median, with the spread beside it."""
    line: dict[str, Any] = {}
    for name, value in measured.items():
        if isinstance(value, list):
            line[name] = round(statistics.median(value), 6)
            line[f"{name}_range"] = [round(min(value), 6), round(max(value), 6)]
        else:
            line[name] = round(value, 6) if isinstance(value, float) else value
    print(json.dumps(line), flush=True)


def describe_machine() -> None:
    """Print the machine and the versions that the following lines were measured with."""
    about = environment()
    print(
        json.dumps(
            {
                "machine": about["hardware"],
                "versions": about["versions"],
                "git_revision": about["git_revision"],
            }
        ),
        flush=True,
    )
