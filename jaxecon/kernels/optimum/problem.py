"""What a leader maximises: welfare at the followers' equilibrium under its schedule."""

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxecon.core.pytree import floating, pytree
from jaxecon.kernels.equilibrium import Outcome, balanced_rebate, equilibrium
from jaxecon.kernels.labor import ResponseTable, smoothed_response
from jaxecon.kernels.preferences import Preferences, isoelastic_utility
from jaxecon.kernels.saving import Endowment
from jaxecon.kernels.taxation import TaxSchedule, lump_sum_rebate, tax_due, weighted_mean
from jaxecon.kernels.welfare import SocialWelfare

_EVERYONE = "everyone"  # the one cohort of a problem's SocialWelfare
_TEMPERATURE = 0.003  # of the smoothed response, in full-time incomes


@pytree
class LeaderProblem:
    """The problem of a leader (a planner) whose schedule n followers (workers) respond to.

    Attributes:
        skill: (n,) $/year per weekly hour.
        preferences: scalar or (n,) fields.
        weights: (n,) survey weights.
        welfare: the social welfare function, over the one cohort "everyone".
        public_spending: E, $/year per person.
        rebate_floor: $/year or None. A schedule whose taxes cannot pay it is not feasible (a
            simulated pool pays it all the same, by printing money).
        endowment: what each follower's wealth adds, or None. Only at curvature 0, where no choice
            depends on it; the revenue from taxing wealth is subtracted from public_spending.
    """

    skill: Array
    preferences: Preferences
    weights: Array
    welfare: SocialWelfare
    public_spending: ArrayLike = 0.0
    rebate_floor: ArrayLike | None = None
    endowment: Endowment | None = None

    def outcome(
        self,
        schedule: TaxSchedule,
        rebate_floor: ArrayLike | None = None,
        table: ResponseTable | None = None,
    ) -> Outcome:
        """Return the followers' equilibrium.

        Its rebate is what taxes pay for, or `rebate_floor` ($/year) if that is given and larger:
        the pool then prints the money. table: as in `best_response`.
        """
        outcome = equilibrium(
            schedule,
            self.skill,
            self.preferences,
            self.weights,
            self.public_spending,
            rebate_floor,
            table,
        )
        return outcome if self.endowment is None else with_endowment(outcome, self.endowment)

    def settled_utility(self, outcome: Outcome) -> Array:
        """Return the utility (n,) by which a schedule is judged.

        With curvature, the rebate that workers respond to may differ from the one that the pool
        pays, when somebody's income jumps. The difference is subtracted from consumption, as a
        search for the best schedule would otherwise exploit it.
        """
        if self.preferences.consumption_curvature == 0:
            return outcome.utility
        return self.utility(outcome.consumption - outcome.rebate_residual, outcome.hours)

    def utility(self, consumption: Array, hours: Array) -> Array:
        """Private utility u~ of consumption and hours, (n,) each."""
        utility = isoelastic_utility(self.preferences, consumption, hours)
        return utility if self.endowment is None else utility - self.endowment.thrift

    def welfare_of(self, utility: Array) -> Array:
        """Social welfare of utilities (n,), a scalar."""
        return self.welfare({_EVERYONE: utility})

    def marginal_weights(self, outcome: Outcome) -> Array:
        """Return marginal welfare weights (n,), mean 1: what a dollar more of consumption adds.

        At curvature 0 these are the fixed weights g, if welfare has any. They are ones if welfare
        gains from nobody's consumption (atkinson with everybody below the floor).
        """
        gain: Array = jax.grad(lambda x: self.welfare_of(self.utility(x, outcome.hours)))(
            outcome.consumption
        )
        each = gain / self.weights
        mean = weighted_mean(each, self.weights)
        return jnp.where(mean > 0, each / jnp.where(mean > 0, mean, 1), 1)

    def smoothed(
        self, schedule: TaxSchedule, table: ResponseTable | None = None
    ) -> tuple[Array, Array]:
        """Return welfare and rebate, scalars, when workers choose among brackets by a narrow logit.

        Both are differentiable even where best responses jump from bracket to bracket.
        """

        def respond(expected: ArrayLike) -> tuple[Array, Array, Array]:
            hours, chance = smoothed_response(
                schedule, self.skill, self.preferences, _TEMPERATURE, expected, table
            )
            tax = jax.vmap(lambda h: tax_due(schedule, self.skill * h))(hours)
            return hours, chance, tax

        def paid_out(expected: ArrayLike) -> Array:
            _, chance, tax = respond(expected)
            return lump_sum_rebate(jnp.sum(chance * tax, 0), self.weights, self.public_spending)

        eta = self.preferences.consumption_curvature
        expected: ArrayLike = 0.0
        if eta > 0:
            expected = balanced_rebate(
                paid_out, schedule, self.skill, self.preferences, self.weights, self.public_spending
            )
        hours, chance, tax = respond(expected)
        rebate = lump_sum_rebate(jnp.sum(chance * tax, 0), self.weights, self.public_spending)
        unearned = rebate if self.endowment is None else rebate + self.endowment.income
        utility = jax.vmap(lambda h, t: self.utility(self.skill * h - t + unearned, h))(hours, tax)
        expected_utility = jnp.sum(
            jnp.where(chance > 0, chance * jnp.where(chance > 0, utility, 0), 0), 0
        )
        return self.welfare_of(expected_utility), rebate

    @classmethod
    def of(
        cls,
        skill: ArrayLike,
        preferences: Preferences,
        welfare: SocialWelfare | ArrayLike,
        weights: ArrayLike | None = None,
        public_spending: ArrayLike = 0.0,
        rebate_floor: ArrayLike | None = None,
    ) -> "LeaderProblem":
        """Return the problem of these followers, all in the precision of skill.

        welfare: welfare weights (n,) of mean 1, or a SocialWelfare over one cohort of any name,
        whose survey weights are used if `weights` is None.
        """
        skill = floating(skill)
        preferences = jax.tree.map(lambda x: jnp.asarray(x, skill.dtype), preferences)
        if weights is None and isinstance(welfare, SocialWelfare):
            (weights,) = welfare.survey_weights.values()
        weights = jnp.ones_like(skill) if weights is None else jnp.asarray(weights, skill.dtype)
        if isinstance(welfare, SocialWelfare):
            (g,) = welfare.weights.values()
            kind, epsilon, floor = welfare.kind, welfare.epsilon, welfare.floor
            judged = SocialWelfare({_EVERYONE: g}, {_EVERYONE: weights}, kind, epsilon, floor)
        else:
            judged = SocialWelfare(
                {_EVERYONE: jnp.asarray(welfare, skill.dtype)}, {_EVERYONE: weights}
            )
        return cls(skill, preferences, weights, judged, public_spending, rebate_floor)


def with_endowment(outcome: Outcome, endowment: Endowment) -> Outcome:
    """Return the outcome of work plus what wealth adds to consumption and utility."""
    return dataclasses.replace(
        outcome,
        consumption=outcome.consumption + endowment.income,
        utility=outcome.utility + endowment.worth,
    )


def thinned(problem: LeaderProblem, n: int) -> LeaderProblem:
    """The problem with n followers of equal survey weights: the quantile midpoints by skill."""
    order = jnp.argsort(problem.skill)
    cumulated = jnp.cumsum(problem.weights[order])
    midpoints = (jnp.arange(n, dtype=problem.skill.dtype) + 0.5) / n * cumulated[-1]
    kept = order[jnp.clip(jnp.searchsorted(cumulated, midpoints), 0, len(order) - 1)]
    preferences = jax.tree.map(lambda x: x[kept] if jnp.ndim(x) else x, problem.preferences)
    g = problem.welfare.weights[_EVERYONE][kept]
    welfare = SocialWelfare(
        {_EVERYONE: g / jnp.mean(g)},
        {_EVERYONE: jnp.ones_like(g)},
        problem.welfare.kind,
        problem.welfare.epsilon,
        problem.welfare.floor,
    )
    endowment = jax.tree.map(lambda x: x[kept], problem.endowment)
    return LeaderProblem(
        problem.skill[kept],
        preferences,
        jnp.ones_like(g),
        welfare,
        problem.public_spending,
        problem.rebate_floor,
        endowment,
    )
