"""Saez's formula beside the exact optimum: the table of docs/optimal-taxation.md.

    python -m experiments.pages.formulas

It uses 1,000 quantile midpoints of skill and fixed inverse-income weights. Gains are over US
federal, in percent, where everybody responds exactly.
"""

from itertools import product

import jax

from jaxecon.economy.gb2 import gb2_skill
from jaxecon.economy.population import PreferenceSet, base_preferences
from jaxecon.kernels.equilibrium import equilibrium
from jaxecon.kernels.optimum.certified import solve
from jaxecon.kernels.optimum.problem import LeaderProblem
from jaxecon.kernels.optimum.saez import saez_schedule
from jaxecon.kernels.optimum.saez_fixed_point import saez_self_consistent
from jaxecon.kernels.taxation import THREE_BRACKET_THRESHOLDS, US_FEDERAL_THRESHOLDS, TaxSchedule
from jaxecon.kernels.welfare import welfare_weights

SETS: tuple[tuple[PreferenceSet, float], ...] = (
    ("calibrated", 10_000.0),
    ("calibrated", 1.0),
    ("annualised", 10_000.0),
    ("annualised", 1.0),
    ("paper", 10_000.0),
)
ELASTICITY = 0.4


def main() -> None:
    print(
        "| parameters, floor | brackets | at US federal incomes | virtual density | fixed point | "
        "optimum |"
    )
    print("|---|---|---|---|---|---|")
    with jax.enable_x64(True):
        skill = gb2_skill(1000)
        for (kind, floor), brackets in product(
            SETS, (THREE_BRACKET_THRESHOLDS, US_FEDERAL_THRESHOLDS)
        ):
            preferences = base_preferences(kind, skill)
            federal = TaxSchedule.us_federal()
            before = equilibrium(federal, skill, preferences)
            g = welfare_weights("inverse_income", before.income, floor=floor)
            problem = LeaderProblem.of(skill, preferences, g)
            base = float(problem.welfare_of(before.utility))
            thresholds = jax.numpy.asarray(brackets)
            schedules = (
                saez_schedule(before.income, thresholds, ELASTICITY, g).schedule,
                saez_schedule(before.income, thresholds, ELASTICITY, g, schedule=federal).schedule,
                saez_self_consistent(skill, preferences, thresholds, ELASTICITY, g).schedule,
                solve(problem, thresholds).schedule,
            )
            gains = (
                100 * (float(problem.welfare_of(problem.outcome(s).utility)) / base - 1)
                for s in schedules
            )
            print(
                f"| {kind}, {floor:,.0f} | {len(brackets)} | "
                + " | ".join(f"{gain:.2f}" for gain in gains)
                + " |"
            )


if __name__ == "__main__":
    main()
