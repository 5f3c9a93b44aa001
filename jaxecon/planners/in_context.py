"""A mechanical planner that learns in context: epsilon-greedy hill climbing on its memory.

It has the same observations, memory, actions and switches as the planner that asks a language
model, so that the effect of each ingredient can be measured without a language model.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array

from jaxecon.config.settings import Config
from jaxecon.core.pytree import pytree, static
from jaxecon.kernels.taxation import TaxSchedule
from jaxecon.planners.base import STEP, Planner, PlannerContext, YearObservation, in_last_tenth
from jaxecon.planners.memory import PlannerMemory

Switch = bool | Array


@pytree
class Ingredients:
    """The ingredients of in-context learning.

    They are numbers, or arrays if many planners run in one compiled program.

    Attributes:
        window: years of history kept, at least.
        direction_hint: whether the last change is repeated while it raised welfare.
        exploration: whether random schedules are tried, in a share `exploration_rate` of the years,
            until the last tenth of the run.
        exploitation: whether the planner climbs from the best schedule so far, and stays there in
            the last tenth; otherwise it climbs from the schedule in force.
        max_change: percentage points that a rate may move in a year.
    """

    window: int = static(default=8)
    direction_hint: Switch = True
    exploration: Switch = True
    exploitation: Switch = True
    exploration_rate: float | Array = 0.3
    max_change: int | Array = 20

    @classmethod
    def from_config(cls, config: Config) -> "Ingredients":
        """Return the ingredients that the settings switch on."""
        planner, memory = config.planner, config.planner.memory
        return cls(
            window=memory.window,
            direction_hint=memory.direction_hint,
            exploration=memory.exploration,
            exploitation=memory.exploitation,
            exploration_rate=planner.exploration_rate,
            max_change=planner.max_change,
        )


@pytree
class InContextState:
    """The planner's state: its memory of past years."""

    memory: PlannerMemory


class InContext(Planner):
    """Climbs from the best schedule that it remembers; works under jit and vmap."""

    name = "in_context"

    def __init__(self, ingredients: Ingredients | None = None) -> None:
        self.ingredients = ingredients or Ingredients()

    def init(self, context: PlannerContext, key: Array) -> InContextState:
        kept, initial = self.ingredients, context.initial
        memory = PlannerMemory.empty(initial.brackets, kept.window, initial.rates.dtype.type)
        return InContextState(memory)

    def propose(
        self, state: InContextState, observation: YearObservation, key: Array
    ) -> tuple[TaxSchedule, InContextState]:
        year, years = (jnp.asarray(x, jnp.int32) for x in (observation.year, observation.years))
        welfare = jnp.asarray(observation.welfare, state.memory.welfare.dtype)
        # nobody tells this planner the revenue: it stays NaN, and outside of the compiled program,
        # which JAX_DEBUG_NANS would end
        untold = state.memory.revenue
        memory = dataclasses.replace(state.memory, revenue=jnp.zeros(untold.shape, untold.dtype))
        rates, memory = _propose(
            self.ingredients, memory, year, years, observation.schedule.rates, welfare, key
        )
        memory = dataclasses.replace(memory, revenue=untold)
        return TaxSchedule(observation.schedule.thresholds, rates), InContextState(memory)


@jax.jit
def _propose(
    ingredients: Ingredients,
    memory: PlannerMemory,
    year: Array,
    years: Array,
    rates: Array,
    welfare: Array,
    key: Array,
) -> tuple[Array, PlannerMemory]:
    memory = memory.appended(year, rates, welfare)
    k = rates.shape[0]
    whether, one, direction, anywhere = jax.random.split(key, 4)
    steps = ingredients.max_change // STEP

    # move one bracket by a step, or repeat the last change while it raised welfare
    sign = jnp.where(jax.random.bernoulli(direction), 1, -1)
    single = jnp.zeros(k, rates.dtype).at[jax.random.randint(one, (), 0, k)].set(sign * STEP / 100)
    last, before = memory.count - 1, jnp.maximum(memory.count - 2, 0)
    change = memory.rates[last] - memory.rates[before]
    improved = (memory.welfare[last] > memory.welfare[before]) & jnp.any(change != 0)
    climbing = jnp.where(improved & ingredients.direction_hint, change, single)

    final = in_last_tenth(year + 1, years)
    known = memory.schedules.value[0] > -jnp.inf
    base = jnp.where(ingredients.exploitation & known, memory.schedules.rates[0], rates)
    at_base = jnp.all(jnp.abs(rates - base) < STEP / 200)
    # the last change is informative only where it was made; elsewhere, try a single step
    target = base + jnp.where(at_base, climbing, single)
    target = jnp.where(final & ingredients.exploitation, base, target)
    random = rates + jax.random.randint(anywhere, (k,), -steps, steps + 1) * (STEP / 100)
    explores = (
        jax.random.bernoulli(whether, ingredients.exploration_rate)
        & ~final
        & ingredients.exploration
    )
    target = jnp.where(explores, random, target)
    moved = jnp.clip(jnp.round((target - rates) * 100 / STEP), -steps, steps) * (STEP / 100)
    return jnp.round(jnp.clip(rates + moved, 0, 1), 6), memory
