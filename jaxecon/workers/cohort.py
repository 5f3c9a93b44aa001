"""People of one kind, whose behaviour one rule (or a language model) decides."""

from jax import Array

from jaxecon.core.pytree import pytree, static
from jaxecon.kernels.preferences import Preferences


@pytree
class Cohort:
    """The people of one cohort, n agents.

    Attributes:
        skill: (n,) annual pre-tax income per weekly hour, $/year per h/week.
        weight: (n,) survey weights, how many people each agent stands for; mean 1 over the whole
            economy.
        preferences: scalar or (n,) fields.
        reference_consumption: x_ref, (n,) $/year, at the exact response to the US federal schedule
            with curvature 0.
        welfare_weight: g, (n,), what welfare gains from a dollar more of consumption for each, at
            that response; mean 1 under the survey weights over the whole economy. At curvature 0
            the welfare function's fixed weights, where it has them.
        name: the cohort's name in the configuration.
    """

    skill: Array
    weight: Array
    preferences: Preferences
    reference_consumption: Array
    welfare_weight: Array
    name: str = static(default="")

    @property
    def size(self) -> int:
        """How many agents the cohort has, n."""
        return self.skill.shape[0]
