"""Schedules evaluated per second, and the time to the optimum, beside NumPy and SciPy.

    python -m experiments.benchmarks.optimum [--agents 1000] [--brackets us_federal] [--starts 3]

First line: schedules a second, JAX (float32 and float64) and vectorised NumPy float64, the same
random schedules judged by both; `numpy_tables` keeps what no rate changes between schedules, as
jaxecon does, `numpy` is the plain formula. Then the seven-bracket optimum: jaxecon's `auto`, and
SciPy's Nelder-Mead (from several starts, the best counts, all their time counts) and differential
evolution with polishing, over the NumPy response. Gains are of each side's own best schedule,
recomputed by the NumPy response for all. Compile time is apart.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize

from experiments.benchmarks.timing import describe_machine, report, seconds
from jaxecon.economy.gb2 import gb2_skill
from jaxecon.kernels.equilibrium import equilibrium
from jaxecon.kernels.labor import ResponseTable
from jaxecon.kernels.optimum.certified import solve
from jaxecon.kernels.optimum.problem import LeaderProblem
from jaxecon.kernels.preferences import Preferences
from jaxecon.kernels.taxation import (
    THREE_BRACKET_THRESHOLDS,
    US_FEDERAL_RATES,
    US_FEDERAL_THRESHOLDS,
    TaxSchedule,
)
from jaxecon.kernels.welfare import welfare_weights

THRESHOLDS = {"three": THREE_BRACKET_THRESHOLDS, "us_federal": US_FEDERAL_THRESHOLDS}
SCHEDULES = 512  # evaluated in one call


class NumPyLeader:
    """Welfare of rates (k,) at the exact response, in NumPy float64: calibrated preferences, fixed
    weights.
    """

    def __init__(self, skill: np.ndarray, thresholds: np.ndarray, *, tables: bool) -> None:
        self.skill, self.thresholds, self.d, self.tables = (
            skill,
            np.asarray(thresholds),
            3.5,
            tables,
        )
        federal = np.asarray(US_FEDERAL_THRESHOLDS), np.asarray(US_FEDERAL_RATES)
        rate = federal[1][np.searchsorted(federal[0], 40 * skill, side="right") - 1]
        self.c = skill * (1 - rate) / (self.d * 40 ** (self.d - 1))
        self.ends = np.stack(
            [*(np.minimum(t / skill, 100.0) for t in self.thresholds), np.full_like(skill, 100.0)]
        )
        self.cost_at_ends = self.c * self.ends**self.d
        self.untaxed = (skill / (self.c * self.d)) ** (1 / (self.d - 1))
        g = 1 / np.maximum(40 * skill, 10_000.0)
        self.g = g / g.mean()
        self.reference = self._welfare_of(*federal)

    def __call__(self, rates: np.ndarray) -> float:
        return self.welfare(rates)

    def welfare(self, rates: np.ndarray) -> float:
        return self._welfare_of(self.thresholds, rates)

    def gain(self, rates: np.ndarray) -> float:
        return 100 * (self.welfare(rates) / self.reference - 1)

    def _welfare_of(self, thresholds: np.ndarray, rates: np.ndarray) -> float:
        below = np.concatenate([[0.0], np.cumsum(rates[:-1] * np.diff(thresholds))])
        best_value, best_tax = np.full_like(self.skill, -np.inf), np.zeros_like(self.skill)
        own = thresholds is self.thresholds and self.tables
        for k, rate in enumerate(rates):
            low = self.ends[k] if own else np.minimum(thresholds[k] / self.skill, 100.0)
            top = thresholds[k + 1] / self.skill if k + 1 < len(rates) else np.inf
            high = self.ends[k + 1] if own else np.minimum(top, 100.0)
            if own:
                interior = self.untaxed * (1 - rate) ** (1 / (self.d - 1))
                inside = self.skill * (1 - rate) * interior / self.d
                cost = np.where(
                    interior < low,
                    self.cost_at_ends[k],
                    np.where(interior > high, self.cost_at_ends[k + 1], inside),
                )
                hours = np.clip(interior, low, high)
            else:
                hours = np.clip(
                    (self.skill * (1 - rate) / (self.c * self.d)) ** (1 / (self.d - 1)), low, high
                )
                cost = self.c * hours**self.d
            income = self.skill * hours
            tax = below[k] + rate * (income - thresholds[k])
            value = np.where(thresholds[k] <= 100.0 * self.skill, income - tax - cost, -np.inf)
            better = value > best_value
            best_value = np.where(better, value, best_value)
            best_tax = np.where(better, tax, best_tax)
        return float(np.mean(self.g * (best_value + best_tax.mean())))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--brackets", choices=list(THRESHOLDS), default="us_federal")
    parser.add_argument("--starts", type=int, default=10, help="of Nelder-Mead")
    arguments = parser.parse_args()
    describe_machine()
    thresholds = np.asarray(THRESHOLDS[arguments.brackets])
    with jax.enable_x64(True):
        skill = np.asarray(gb2_skill(arguments.agents))
    plain, tabled = (NumPyLeader(skill, thresholds, tables=tables) for tables in (False, True))
    evaluation(skill, thresholds, plain, tabled)
    race(skill, thresholds, tabled, arguments.starts)


def problem(skill: np.ndarray) -> LeaderProblem:
    preferences = Preferences.calibrated(skill)
    federal = equilibrium(TaxSchedule.us_federal(), skill, preferences)
    return LeaderProblem.of(skill, preferences, welfare_weights("inverse_income", federal.income))


def evaluation(
    skill: np.ndarray, thresholds: np.ndarray, plain: NumPyLeader, tabled: NumPyLeader
) -> None:
    """One line for each precision."""
    rates = np.random.default_rng(0).uniform(0, 1, (SCHEDULES, len(thresholds)))
    theirs = seconds(lambda: [plain(r) for r in rates[:64]], repeats=5)
    theirs_tabled = seconds(lambda: [tabled(r) for r in rates[:64]], repeats=5)
    for precise in (False, True):
        with jax.enable_x64(precise):
            ours_dtype = jnp.float64 if precise else jnp.float32
            leader = problem(skill.astype(ours_dtype))
            table = ResponseTable.of(
                jnp.asarray(thresholds, ours_dtype), leader.skill, leader.preferences
            )

            schedules = jnp.asarray(thresholds, ours_dtype), jnp.asarray(rates, ours_dtype)
            begun = time.perf_counter()
            welfare = np.asarray(_judge(leader, table, *schedules))
            first = time.perf_counter() - begun
            ours = seconds(partial(_judge, leader, table, *schedules))
        reference = np.array([tabled(r) for r in rates])
        per_second, per_second_numpy = (
            SCHEDULES / float(np.median(ours)),
            64 / float(np.median(theirs)),
        )
        per_second_tabled = 64 / float(np.median(theirs_tabled))
        report(
            benchmark="schedules",
            agents=len(skill),
            brackets=len(thresholds),
            dtype=np.dtype(ours_dtype).name,
            first_call_s=first,
            jax_schedules_per_s=per_second,
            numpy_schedules_per_s=per_second_numpy,
            numpy_tables_schedules_per_s=per_second_tabled,
            ratio=per_second / per_second_numpy,
            ratio_tables=per_second / per_second_tabled,
            largest_difference=float(np.max(np.abs(welfare / reference - 1))),
        )


@jax.jit
def _judge(
    leader: LeaderProblem, table: ResponseTable, thresholds: jax.Array, rates: jax.Array
) -> jax.Array:
    def welfare(r: jax.Array) -> jax.Array:
        return leader.welfare_of(leader.outcome(TaxSchedule(thresholds, r), table=table).utility)

    return jax.vmap(welfare)(rates)


def race(skill: np.ndarray, thresholds: np.ndarray, numpy_leader: NumPyLeader, starts: int) -> None:
    """Time and gain of each way to the optimum."""
    leader = problem(skill.astype(np.float32))
    run = partial(solve, leader, thresholds)
    begun = time.perf_counter()
    optimum = jax.block_until_ready(run())
    first = time.perf_counter() - begun
    taken = seconds(run, repeats=3)
    ours = float(np.median(taken))
    rates = np.asarray(optimum.schedule.rates, float)
    report(
        benchmark="optimum",
        method="jaxecon auto",
        seconds=taken,
        compile_s=first - ours,
        evaluations=int(optimum.evaluations),
        gain_percent=numpy_leader.gain(rates),
        rates=_shown(rates),
    )
    rivals: dict[str, Callable[[], tuple[np.ndarray, int]]] = {
        "scipy Nelder-Mead, 1 start": lambda: nelder_mead(numpy_leader, len(thresholds), 1),
        f"scipy Nelder-Mead, {starts} starts": lambda: nelder_mead(
            numpy_leader, len(thresholds), starts
        ),
        "scipy differential evolution": lambda: differential_evolution(
            numpy_leader, len(thresholds)
        ),
    }
    for name, search in rivals.items():
        begun = time.perf_counter()
        best, evaluations = search()
        spent = time.perf_counter() - begun
        report(
            benchmark="optimum",
            method=name,
            seconds=spent,
            evaluations=evaluations,
            gain_percent=numpy_leader.gain(best),
            rates=_shown(best),
            times_jaxecon=spent / ours,
            jaxecon_gain_minus_this=numpy_leader.gain(rates) - numpy_leader.gain(best),
        )


def _shown(rates: np.ndarray) -> str:
    return "/".join(f"{r:.4f}" for r in rates)


def _loss(leader: NumPyLeader) -> Callable[[np.ndarray], float]:
    return lambda rates: -leader(np.clip(rates, 0, 1))


def nelder_mead(leader: NumPyLeader, brackets: int, starts: int) -> tuple[np.ndarray, int]:
    """The best of several starts, each to convergence."""
    results = [
        optimize.minimize(
            _loss(leader),
            np.full(brackets, level),
            method="Nelder-Mead",
            options={
                "maxfev": 20_000,
                "maxiter": 20_000,
                "xatol": 1e-4,
                "fatol": 1e-3,
                "adaptive": True,
            },
        )
        for level in np.linspace(0.5 - 0.03 * (starts - 1), 0.5 + 0.03 * (starts - 1), starts).clip(
            0.1, 0.9
        )
    ]
    best = min(results, key=lambda r: r.fun)
    return np.clip(best.x, 0, 1), sum(r.nfev for r in results)


def differential_evolution(leader: NumPyLeader, brackets: int) -> tuple[np.ndarray, int]:
    """With SciPy's defaults: population 15 a dimension, 1000 generations, L-BFGS-B at the end."""
    result = optimize.differential_evolution(_loss(leader), [(0, 1)] * brackets, rng=0, tol=1e-6)
    return result.x, int(result.nfev)


if __name__ == "__main__":
    main()
