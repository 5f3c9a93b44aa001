"""An economy at equilibrium among the workers' choices of hours.

The exact response takes any hours. Many workers have a grid of choices instead, which by itself,
however well they know a schedule, costs them welfare and changes what a schedule brings. Here they
take the best of their choices.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxecon.economy.equilibrium import leader_problem
from jaxecon.economy.state import Economy, by_cohort
from jaxecon.kernels.equilibrium import Outcome, settle
from jaxecon.kernels.labor import best_response
from jaxecon.kernels.optimum.problem import with_endowment
from jaxecon.kernels.quantal import best_of_choices
from jaxecon.kernels.roots import falling_root
from jaxecon.kernels.taxation import TaxSchedule

_RESOLUTION = 1e-7  # relative to the rebate, of the root that balances it

_Numbers = dict[str, Array]  # of choices, (n,) int32 by cohort, of the cohorts that have some


def equilibrium_among_choices(economy: Economy, schedule: TaxSchedule, exact: Outcome) -> Outcome:
    """Return the outcome when everybody takes the best of the hours that they choose among.

    Cohorts that take any hours respond exactly. With curvature > 0, workers expect the rebate that
    the pool pays, as near as their steps from choice to choice allow (`rebate_residual`). Where
    taxes take all income, they leave no rebate that could be expected: the residual is then large.

    exact: the outcome of everybody's exact response to the schedule, (n,) in cohort order, as is
    the result. Where nobody has a grid it is the result.
    """
    if all(cohort.takes_any_hours for cohort in economy.cohorts.values()):
        return exact
    problem = leader_problem(economy)

    def settled(numbers: _Numbers, expected: Array | None) -> Outcome:
        return settle(
            schedule,
            _hours(economy, schedule, exact, numbers, expected),
            problem.skill,
            problem.preferences,
            problem.weights,
            problem.public_spending,
            economy.rebate_floor,
            expected,
        )

    numbers = _best_choices(economy, schedule, exact.rebate)
    if problem.preferences.consumption_curvature == 0:
        outcome = settled(numbers, None)
        return outcome if problem.endowment is None else with_endowment(outcome, problem.endowment)
    # Leisure is a normal good: what the pool pays falls in what workers expect. So the balanced
    # rebate lies between any that they might expect and what the pool then pays; and the choices on
    # the way lie between those at the two ends, which are few.
    ends = exact.rebate, settled(numbers, exact.rebate).rebate
    others = _best_choices(economy, schedule, ends[1])
    between = jax.tree.map(jnp.minimum, numbers, others), jax.tree.map(jnp.maximum, numbers, others)
    rebate = falling_root(
        lambda r: settled(_best_choices(economy, schedule, r, between), r).rebate - r,
        jnp.minimum(*ends),
        jnp.maximum(*ends),
        _RESOLUTION,
    )
    return settled(_best_choices(economy, schedule, rebate, between), rebate)


def _best_choices(
    economy: Economy,
    schedule: TaxSchedule,
    rebate: Array,
    between: tuple[_Numbers, _Numbers] | None = None,
) -> _Numbers:
    """The numbers of the best choices at an expected rebate, $/year.

    between: the lowest and the highest to compare; all by default.
    """
    return {
        name: best_of_choices(
            schedule,
            cohort.skill,
            cohort.preferences,
            rebate,
            cohort.reference_consumption,
            np.asarray(cohort.choices),
            None if between is None else (between[0][name], between[1][name]),
        )
        for name, cohort in economy.cohorts.items()
        if not cohort.takes_any_hours
    }


def _hours(
    economy: Economy,
    schedule: TaxSchedule,
    exact: Outcome,
    numbers: _Numbers,
    expected: Array | None,
) -> Array:
    """Everybody's hours, (n,) h/week in cohort order.

    numbers: of the choices taken. expected: the rebate to which cohorts without choices respond
    exactly; None where it does not matter.
    """
    without = by_cohort(economy, exact.hours)
    hours = []
    for name, cohort in economy.cohorts.items():
        if name in numbers:
            hours.append(jnp.asarray(cohort.choices, cohort.skill.dtype)[numbers[name]])
        elif expected is None:
            hours.append(without[name])
        else:
            hours.append(best_response(schedule, cohort.skill, cohort.preferences, expected))
    return jnp.concatenate(hours)
