"""Agent-days per second of quantal and adaptive years, beside the same algorithm in NumPy.

    python -m experiments.benchmarks.kernels [--agents 1000 100000 1000000] [--days 64] [--precision
    float32]

Both sides simulate the same year: choose, tax, pool, utility, welfare, learn, agents' sums. A
year's tables (the quantal rule's probabilities) are made once at its start and are part of the
time. NumPy uses its own generator (PCG64), one uniform draw an agent and day (two for adaptive).
Welfare of both sides is printed: they must agree to sampling error.
"""

import argparse

import jax
import numpy as np

from experiments.benchmarks.timing import compile_seconds, describe_machine, report, seconds
from jaxecon.config.read import load_config
from jaxecon.config.settings import Config
from jaxecon.economy.build import build_economy
from jaxecon.economy.days import simulate_days
from jaxecon.economy.first_schedule import first_schedule
from jaxecon.economy.precision import compute_context
from jaxecon.economy.state import AgentSums, Day, Economy, EconomyState
from jaxecon.economy.year import initial_state, start_year

CHOICES = np.arange(0, 101, 10)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--agents", type=int, nargs="+", default=[1_000, 100_000, 1_000_000])
    parser.add_argument("--days", type=int, default=64)
    parser.add_argument("--precision", choices=["float32", "float64"], default="float32")
    arguments = parser.parse_args()
    describe_machine()
    for rule in ("quantal", "adaptive"):
        for agents in arguments.agents:
            cohorts = [{"name": "workers", "rule": rule, "size": agents}]
            config = load_config(
                {
                    "precision": arguments.precision,
                    "year": {"days": arguments.days},
                    "population": {"cohorts": cohorts},
                }
            )
            with compute_context(config):
                measure(config, rule, agents)


def measure(config: Config, rule: str, agents: int) -> None:
    """One line: a whole year in JAX and in NumPy."""
    days = config.year.days
    economy, schedule = build_economy(config), first_schedule(config)
    state = jax.jit(initial_state)(economy, schedule)

    @jax.jit
    def year(economy: Economy, state: EconomyState) -> tuple[EconomyState, AgentSums, Day]:
        state, plan, sums = start_year(economy, state, schedule, days)
        return simulate_days(economy, plan, state, sums, days)

    compiling = compile_seconds(lambda: year.lower(economy, state))
    ours = seconds(lambda: year(economy, state))
    welfare = float(year(economy, state)[2].swf_private.mean())

    numpy_year = NumPyYear(
        economy, np.asarray(schedule.thresholds), np.asarray(schedule.rates), rule, days
    )
    theirs = seconds(numpy_year.simulate, repeats=2)
    report(
        benchmark="kernels",
        rule=rule,
        agents=agents,
        days=days,
        dtype=str(economy.reference.income.dtype),
        compile_s=compiling,
        jax_year_s=ours,
        numpy_year_s=theirs,
        jax_agent_days_per_s=float(agents * days / np.median(ours)),
        numpy_agent_days_per_s=float(agents * days / np.median(theirs)),
        ratio=float(np.median(theirs) / np.median(ours)),
        swf_jax=welfare,
        swf_numpy=numpy_year.simulate(),
    )


class NumPyYear:
    """The same year in vectorised NumPy, with arrays of the same dtype and a year's tables made
    once.
    """

    def __init__(
        self, economy: Economy, thresholds: np.ndarray, rates: np.ndarray, rule: str, days: int
    ) -> None:
        cohort = economy.cohorts["workers"]
        self.skill, self.c = (
            np.asarray(cohort.skill),
            np.asarray(cohort.preferences.disutility_weight),
        )
        self.d = self.skill.dtype.type(cohort.preferences.disutility_exponent)
        self.g, self.w = np.asarray(economy.welfare.weights["workers"]), np.asarray(cohort.weight)
        self.total = self.w.sum()
        self.thresholds, self.rates, self.rule, self.days = thresholds, rates, rule, days
        self.rng = np.random.default_rng(0)
        self.rows = np.arange(len(self.skill))

    def simulate(self) -> float:
        """A year; returns its mean welfare."""
        n, dtype = len(self.skill), self.skill.dtype
        hours_sum, tax_sum, utility_sum = (np.zeros(n, dtype) for _ in range(3))
        swf = np.zeros(self.days)
        payoffs = self._payoffs()
        if self.rule == "quantal":
            logits = 20 * payoffs
            chances = np.exp(logits - logits.max(1, keepdims=True))
            cumulated = (np.cumsum(chances, 1) / chances.sum(1, keepdims=True))[:, :-1].T.copy()
        values = payoffs.copy()
        for day in range(self.days):
            if self.rule == "quantal":
                u = self.rng.random(n, dtype)
                choice = np.zeros(n, np.int8)
                for edge in cumulated:
                    choice += u >= edge
            else:
                explore = self.rng.random(n, dtype) < 0.4 * (0.02 / 0.4) ** (
                    day / max(self.days - 1, 1)
                )
                step = np.where(self.rng.random(n, dtype) < 0.5, 1, -1)
                best = values.argmax(1)
                moved = best + step
                moved = np.where(moved < 0, 1, np.where(moved > 10, 9, moved))
                choice = np.where(explore, moved, best)
            hours = CHOICES.astype(dtype)[choice]
            income = self.skill * hours
            tax = self._tax(income)
            rebate = (tax * self.w).sum() / self.total
            consumption = income - tax + rebate
            utility = consumption - self.c * hours**self.d
            swf[day] = (self.w * self.g * utility).sum() / self.total
            hours_sum += hours
            tax_sum += tax
            utility_sum += utility
            if self.rule == "adaptive":
                payoff = (utility - rebate) / (40 * self.skill)
                values[self.rows, choice] += dtype.type(0.5) * (payoff - values[self.rows, choice])
        return float(swf.mean())

    def _payoffs(self) -> np.ndarray:
        hours = CHOICES.astype(self.skill.dtype)
        income = self.skill[:, None] * hours
        return (income - self._tax(income) - self.c[:, None] * hours**self.d) / (
            40 * self.skill[:, None]
        )

    def _tax(self, income: np.ndarray) -> np.ndarray:
        tax = np.zeros_like(income)
        tops = np.append(self.thresholds[1:], np.inf).astype(income.dtype)
        for low, high, rate in zip(self.thresholds, tops, self.rates, strict=True):
            tax += rate * np.clip(income - low, 0, high - low)
        return tax


if __name__ == "__main__":
    main()
