"""What a search evaluates: welfare and the rebate at points of the space of schedules."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxecon.kernels.labor import ResponseTable
from jaxecon.kernels.optimum.problem import LeaderProblem
from jaxecon.kernels.optimum.space import Judge, Limits, Space, project, schedule_at
from jaxecon.kernels.taxation import TaxSchedule

ROUNDING = 4.0  # epsilons of welfare: smaller differences count as none
MAX_ELEMENTS = 2**20  # of (schedules, brackets, workers) evaluated at once


@dataclass(frozen=True, eq=False)
class Objective:
    """A leader's problem over a space of schedules. Used within one trace.

    Points are vectors (size,): k rates, then the logarithms of free thresholds. A judge (`Judge`)
    turns a point's welfare and rebate into the number that a search maximises.

    table: the parts of responses that do not depend on rates; None if thresholds are free.
    """

    problem: LeaderProblem
    space: Space
    limits: Limits
    table: ResponseTable | None

    def schedule(self, x: Array) -> TaxSchedule:
        """The schedule at a point (size,)."""
        return schedule_at(self.space, self.limits, x)

    def project(self, x: Array) -> Array:
        """The nearest point (size,) within the space."""
        return project(self.space, self.limits, x)

    def neighbours(self, x: Array, step: ArrayLike) -> Array:
        """The points (m, size) one step away from x (size,) in each direction of the space."""
        moves = jnp.asarray(self.space.directions, x.dtype)
        return jax.vmap(lambda move: self.project(x + step * move))(moves)

    def evaluate(self, points: Array, judge: Judge) -> Array:
        """Values (m,) of points (m, size) at exact responses; -inf where a value is NaN."""
        return self.evaluate_with_rebate(points, judge)[0]

    def evaluate_with_rebate(self, points: Array, judge: Judge) -> tuple[Array, Array]:
        """`evaluate`, and each point's rebate, (m,) $/year."""

        def value(x: Array) -> tuple[Array, Array]:
            outcome = self.problem.outcome(self.schedule(x), table=self.table)
            judged = judge(
                self.problem.welfare_of(self.problem.settled_utility(outcome)), outcome.rebate
            )
            return jnp.where(jnp.isnan(judged), -jnp.inf, judged), outcome.rebate

        each = self.space.brackets * self.problem.skill.shape[0]
        # at least two batches: in a single one, XLA would fuse the making of the points into the
        # loop over workers and repeat it there
        batches = max(2, -(-points.shape[0] * each // MAX_ELEMENTS))
        size = -(-points.shape[0] // batches)
        # padded with repeated points: a smaller last batch would be compiled separately
        whole = jnp.resize(points, (batches * size, points.shape[1])).reshape(batches, size, -1)
        judged, rebate = jax.lax.map(jax.vmap(value), whole)
        return judged.ravel()[: points.shape[0]], rebate.ravel()[: points.shape[0]]

    def smoothed(self, x: Array, judge: Judge) -> Array:
        """The value of a point (size,) with the response smoothed over brackets, a scalar."""
        return judge(*self.problem.smoothed(self.schedule(x), self.table))

    def feasible_welfare(self, welfare: Array, rebate: Array) -> Array:
        """A judge that returns welfare, or -inf where the rebate is below its floor."""
        if self.problem.rebate_floor is None:
            return welfare
        slack = 8 * np.finfo(welfare.dtype).eps * jnp.max(self.problem.skill)
        return jnp.where(rebate >= self.problem.rebate_floor - slack, welfare, -jnp.inf)
