"""Agent-days per second of mechanical years, beside parallel Numba, and the memory they take.

    python -m experiments.benchmarks.scale [--agents 10000 ...] [--rules quantal adaptive rational]
    [--repeats 3] [--no-numba] [--watched 1000000] [--economies 10000]

One line a rule and size. The tables of a year and its days are timed apart (`start_s`, `days_s`),
through the functions that a run uses (jaxecon.economy.days, donated); agent-days/s are those of a
tax year of 128 days, tables included, from as many days as fit the time. Numba simulates the same
year on the same draws (numba_year.py), taking turns, and `figures_apart` is the largest relative
difference between any of the days' eight statistics. Best of the repeats; medians beside.

At the end, a sweep of `--economies` of 1,000 agents beside one economy as large (sweeps.py).

Memory: `state_bytes` are all arrays that a run holds from day to day (people, year's tables, rules'
states, sums); `peak_over_state` is the peak of a fresh process that builds the economy, simulates
some days and closes the year, less what it used after a small one, over that, and
`lived_over_state` the same before the year's end; by XLA's account `days_peak_over_state` is what
the compiled days take and `close_bytes_per_agent` what the year's end takes above its arguments
(statistics, everybody's exact response, two sorts). The last columns are shares of a measured copy
and of measured multiply-adds, from the counts below; on a GPU the copy is one from device to
device.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import sweeps
from experiments.benchmarks.timing import (
    compiled_days,
    describe_machine,
    report,
    start_year,
    timed,
    year_seconds,
)
from jaxecon.config.read import load_config
from jaxecon.config.settings import Config
from jaxecon.core.compilation import WIDE_VECTORS
from jaxecon.core.draws import named_key
from jaxecon.economy.build import build_economy
from jaxecon.economy.first_schedule import first_schedule
from jaxecon.economy.precision import compute_context
from jaxecon.economy.state import Day, Economy, EconomyState
from jaxecon.economy.summary import summarise_year
from jaxecon.economy.year import initial_state
from jaxecon.kernels.labor import best_response
from jaxecon.kernels.taxation import TaxSchedule

YEAR = 128  # days
RULES = ("quantal", "adaptive", "rational")
# of one repeat at most: with 1e7 agents the 32 days of a run's segment
AGENT_DAYS = {
    "cpu": 3.2e8,
    "gpu": 3.2e9,
}
MIN_DAYS = 8
MIN_WATCHED = 1_000_000  # agents: with fewer, a process's memory on a CPU is that of compiling

# An agent and day in float32 with the US federal schedule's seven brackets.
# Operations, each integer or floating operation one:
#   a block of threefry 118 (20 rounds of add, rotate as 3, xor; 5 key additions of 2; the draw from
#     a word 3; the counter)
#   choosing: quantal 10 comparisons, selections, additions; adaptive 10 of the same and 10 for the
#     step
#   settling 103: income 1, tax 7*5, the power 28 (log2, exp2), utility 4, penalty 4, welfare and
#     means 28, sums 3
#   learning: the payoff 8, eleven rows of compare, subtract, multiply, add
# Bytes, each array once before the pool and once after it, the least for one day at a time:
#   quantal: table 40; skill, weight in, hours, tax out 16; hours, tax, skill, c, w, g in 24,
#     satisfied 1, sums 24
#   adaptive: values 44 to choose, 88 to learn in the place of the table
#   rational: nothing moves: the sums 24, and hours, tax, utility 12
OPERATIONS = {"quantal": 118 + 30 + 103, "adaptive": 118 + 40 + 103 + 52, "rational": 3}
MIN_BYTES = {"quantal": 105, "adaptive": 197, "rational": 36}


def main() -> None:
    arguments = parse_arguments()
    if arguments.peak:
        print(json.dumps(peak(arguments.rules[0], arguments.agents[0])))
        return
    # the processes below need a GPU's memory too
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    watched = [
        (rule, agents)
        for rule in arguments.rules
        for agents in arguments.agents
        if agents >= arguments.watched
    ]
    # before this process takes any of it, which it would keep
    peaks = {case: fresh_peak(*case) for case in watched}
    describe_machine()
    copy, arithmetic = copy_bandwidth(), multiply_adds()
    report(benchmark="scale", part="machine", copy_bytes_per_s=copy, operations_per_s=arithmetic)
    for rule in arguments.rules:
        for agents in arguments.agents:
            config = config_of(rule, agents)
            with compute_context(config):
                measured = measure(
                    config, rule, agents, arguments.repeats, numba=not arguments.no_numba
                )
            days_rate = agents / measured.pop("day_s")
            report(
                benchmark="scale",
                rule=rule,
                agents=agents,
                **measured,
                share_of_copy=MIN_BYTES[rule] * days_rate / copy,
                share_of_arithmetic=OPERATIONS[rule] * days_rate / arithmetic,
                **peaks.get((rule, agents), {}),
            )
    if arguments.economies:
        sweeps.measure(arguments.economies, agents=1_000, days=128, chunk_size=None)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--agents", type=int, nargs="+", default=[10_000, 100_000, 1_000_000, 10_000_000]
    )
    parser.add_argument("--rules", nargs="+", choices=RULES, default=list(RULES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-numba", action="store_true")
    parser.add_argument(
        "--watched",
        type=int,
        default=MIN_WATCHED,
        help="memory is measured from this number of agents on",
    )
    parser.add_argument(
        "--economies",
        type=int,
        default=10_000,
        help="of a sweep beside one economy as large; 0: no sweep",
    )
    # in the fresh process
    parser.add_argument("--peak", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def config_of(rule: str, agents: int) -> Config:
    return load_config(
        {"population": {"cohorts": [{"name": "workers", "rule": rule, "size": agents}]}}
    )


def days_of(agents: int) -> int:
    most = AGENT_DAYS["cpu" if jax.default_backend() == "cpu" else "gpu"]
    return int(min(YEAR, max(MIN_DAYS, most // agents)))


def measure(config: Config, rule: str, agents: int, repeats: int, *, numba: bool) -> dict[str, Any]:
    """The numbers of one line, all but the shares and the fresh process."""
    days = days_of(agents)
    economy, schedule = build_economy(config), first_schedule(config)
    first = jax.jit(initial_state)(economy, schedule)
    numbers = {"days": days, **compile_and_weigh(economy, first, schedule, days)}
    theirs = numba_year(economy, schedule, rule, days) if numba else None
    if theirs is not None:
        theirs.start()
        theirs.simulate()  # compiled
    times: dict[str, list[float]] = {"start_s": [], "days_s": []}
    if theirs is not None:
        times |= {"numba_start_s": [], "numba_days_s": []}
    record: Day | None = None
    for repeat in range(repeats + 1):  # the first warms up
        start_s, days_s, record = year_seconds(economy, first, schedule, YEAR, days)
        if repeat == 0:
            continue
        times["start_s"].append(start_s)
        times["days_s"].append(days_s)
        if theirs is not None:
            times["numba_start_s"].append(timed(theirs.start)[0])
            seconds, their_record = timed(theirs.simulate)
            times["numba_days_s"].append(seconds)
    assert record is not None
    numbers |= times
    numbers |= rates_of(times, agents, days)
    numbers["swf"] = float(np.asarray(record.swf_private, np.float64).mean())
    if theirs is not None:
        numbers["over_numba"] = numbers["agent_days_per_s"] / numbers["numba_agent_days_per_s"]
        numbers["swf_numba"] = float(their_record["swf_private"].mean())
        numbers["figures_apart"] = max(
            float(np.max(np.abs(value / np.asarray(getattr(record, name), np.float64) - 1)))
            for name, value in their_record.items()
        )
    numbers["day_s"] = min(times["days_s"]) / days
    return numbers


def compile_and_weigh(
    economy: Economy, first: EconomyState, schedule: TaxSchedule, days: int
) -> dict[str, Any]:
    """Seconds of compiling a year, and the bytes that it holds and takes."""
    begun = time.perf_counter()
    state, plan, sums = jax.block_until_ready(start_year(economy, first, schedule, YEAR))
    compiled = compiled_days.lower(economy, plan, state, sums, days).compile()
    compile_s = time.perf_counter() - begun
    in_use = state_bytes(economy, plan, state, sums)
    numbers: dict[str, Any] = {"compile_s": compile_s, "state_bytes": in_use}
    needs = compiled.memory_analysis()
    if needs is not None:
        # arrays of the economy that the days do not touch
        unused = in_use - needs.argument_size_in_bytes
        taken = needs.argument_size_in_bytes + needs.temp_size_in_bytes
        taken += needs.output_size_in_bytes - needs.alias_size_in_bytes
        numbers["days_peak_over_state"] = (max(unused, 0) + taken) / in_use
    return numbers


def rates_of(times: dict[str, list[float]], agents: int, days: int) -> dict[str, float]:
    """Agent-days per second of whole years and of days alone, best and median."""

    def of_year(start_s: float, days_s: float) -> float:
        return agents * YEAR / (start_s + days_s / days * YEAR)

    best = {name: min(taken) for name, taken in times.items()}
    rates = {
        "agent_days_per_s": of_year(best["start_s"], best["days_s"]),
        "agent_days_per_s_days_alone": agents * days / best["days_s"],
        "agent_days_per_s_median": of_year(
            statistics.median(times["start_s"]), statistics.median(times["days_s"])
        ),
    }
    if "numba_days_s" in times:
        rates |= {
            "numba_agent_days_per_s": of_year(best["numba_start_s"], best["numba_days_s"]),
            "numba_agent_days_per_s_days_alone": agents * days / best["numba_days_s"],
        }
    return rates


def numba_year(economy: Economy, schedule: TaxSchedule, rule: str, days: int) -> Any:
    """The economy of one cohort, `workers`, as a NumbaYear."""
    from experiments.benchmarks.numba_year import NumbaYear, People

    cohort = economy.cohorts["workers"]
    arrays = (
        cohort.skill,
        cohort.preferences.disutility_weight,
        cohort.weight,
        economy.welfare.weights["workers"],
    )
    satisfied = np.ones(cohort.size, bool)
    skill, c, w, g = map(np.asarray, arrays)
    people = People(skill, c, w, g, satisfied, float(cohort.preferences.disutility_exponent))
    key = np.asarray(jax.random.key_data(named_key(economy.seed, "workers", "labor")))
    hours = np.asarray(best_response(schedule, cohort.skill, cohort.preferences))
    return NumbaYear(
        people,
        np.asarray(schedule.thresholds),
        np.asarray(schedule.rates),
        key,
        rule,
        days,
        YEAR,
        hours,
    )


def state_bytes(*arrays: Any) -> int:
    """Bytes of all arrays, each once."""
    return sum(
        {id(x): x.nbytes for x in jax.tree.leaves(arrays) if isinstance(x, jax.Array)}.values()
    )


def copy_bandwidth() -> float:
    """Bytes read and written per second, best of ten: 2 GiB copied; on a CPU 256 MiB, in place,
    where pages are not new.
    """
    on_cpu = jax.default_backend() == "cpu"
    x = jnp.zeros(2**26 if on_cpu else 2**29, jnp.float32)
    step = (
        jax.jit(lambda x: x + 1, donate_argnums=0, compiler_options=WIDE_VECTORS)
        if on_cpu
        else jax.jit(jnp.copy)
    )
    best = np.inf
    for _ in range(11):
        seconds, x = timed(lambda: jax.block_until_ready(step(x)))  # noqa: B023
        best = min(best, seconds)
    return 2 * x.nbytes / best


def multiply_adds() -> float:
    """Operations per second of chains of multiply-adds in float32 (two operations each), best of
    ten.
    """
    # chains, so that none waits for itself
    n, length, chains = (
        2**20 if jax.default_backend() == "cpu" else 2**27,
        64,
        8,
    )
    x = jnp.linspace(0, 1, n, dtype=jnp.float32)

    def chain(x: jax.Array, a: jax.Array) -> jax.Array:
        several = [x + k for k in range(chains)]
        for _ in range(length):
            several = [y * a + a for y in several]
        return sum(several[1:], several[0])

    a = jnp.asarray(0.5, jnp.float32)
    fast = jax.jit(chain, compiler_options=WIDE_VECTORS)
    best = min(timed(lambda: jax.block_until_ready(fast(x, a)))[0] for _ in range(11))
    return 2 * n * length * chains / best


def fresh_peak(rule: str, agents: int) -> dict[str, Any]:
    """`peak` in a process of its own, or why there is none."""
    command = [
        sys.executable,
        "-m",
        "experiments.benchmarks.scale",
        "--peak",
        "--rules",
        rule,
        "--agents",
        str(agents),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return {
            "peak_error": done.stderr.strip().splitlines()[-1]
            if done.stderr.strip()
            else f"exit status {done.returncode}"
        }
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def peak(rule: str, agents: int) -> dict[str, Any]:
    """The most memory that two segments of a year and its end take, over that of the state.

    On a CPU the process's largest resident size less that after a year of 1,000 agents; on a GPU
    the device's account.
    """

    def year(n: int) -> tuple[int, int, int | None]:
        """Bytes held, the most before the year's end, and what the year's end takes above its
        arguments.
        """
        config = config_of(rule, n)
        with compute_context(config):
            economy, schedule = build_economy(config), first_schedule(config)
            state = jax.jit(initial_state)(economy, schedule)
            state, plan, sums = start_year(economy, state, schedule, YEAR)
            for _ in range(2):
                state, sums, record = compiled_days(economy, plan, state, sums, MIN_DAYS)
            jax.block_until_ready(record)
            before_close, in_use = most_memory(), state_bytes(economy, plan, state, sums)
            del plan  # as a run does
            close = jax.jit(summarise_year).lower(economy, schedule, state, sums, record).compile()
            jax.block_until_ready(close(economy, schedule, state, sums, record))
            needs = close.memory_analysis()
            taken = None if needs is None else needs.temp_size_in_bytes + needs.output_size_in_bytes
            return in_use, before_close, taken

    year(1_000)
    before = most_memory()
    in_use, before_close, taken = year(agents)
    return {
        "peak_bytes": most_memory() - before,
        "peak_over_state": (most_memory() - before) / in_use,
        "lived_over_state": (before_close - before) / in_use,
        **({} if taken is None else {"close_bytes_per_agent": taken / agents}),
    }


def most_memory() -> int:
    device = jax.local_devices()[0]
    if device.platform == "cpu":
        status = Path("/proc/self/status")
        if not status.exists():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS
        # a child's ru_maxrss begins at its parent's on Linux
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return int(device.memory_stats()["peak_bytes_in_use"])


if __name__ == "__main__":
    main()
