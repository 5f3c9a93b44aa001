"""A cohort: people whose hours are decided by one rule (or by a language model)."""

from jax import Array

from jaxecon.core.pytree import pytree, static
from jaxecon.kernels.labor import HOURS
from jaxecon.kernels.preferences import Preferences


@pytree
class Cohort:
    """The people of one cohort, n agents.

    Attributes:
        skill: (n,) annual pre-tax income per weekly hour, $/year per h/week.
        weight: (n,) survey weights, how many people each agent stands for; mean 1 over the whole
            economy.
        preferences: scalar or (n,) fields.
        reference_consumption: x_ref, (n,) $/year, consumption at the exact response to the US
            federal schedule at curvature 0.
        welfare_weight: g, (n,) marginal welfare weights: what welfare gains from one more dollar of
            each agent's consumption at the exact response to the US federal schedule; mean 1 under
            the survey weights over the whole economy. At curvature 0 these are the welfare
            function's fixed weights, if it has any.
        name: the cohort's name in the configuration.
        choices: h/week, rising: the hours that rules with discrete choices choose among.
        takes_any_hours: whether its workers are not bound to `choices`.
    """

    skill: Array
    weight: Array
    preferences: Preferences
    reference_consumption: Array
    welfare_weight: Array
    name: str = static(default="")
    choices: tuple[float, ...] = static(default=tuple(HOURS.tolist()))
    takes_any_hours: bool = static(default=False)

    @property
    def size(self) -> int:
        """How many agents the cohort has, n."""
        return self.skill.shape[0]
