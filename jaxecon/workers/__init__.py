"""Decision rules of mechanical cohorts."""

from jaxecon.workers.adaptive import Adaptive
from jaxecon.workers.base import Cohort, Observation, WorkerRule
from jaxecon.workers.fixed import Fixed
from jaxecon.workers.habit import Habit
from jaxecon.workers.quantal import Quantal
from jaxecon.workers.rational import Rational
from jaxecon.workers.registry import RULES, rule_named
from jaxecon.workers.social import Adversarial, Altruistic

__all__ = [
    "RULES",
    "Adaptive",
    "Adversarial",
    "Altruistic",
    "Cohort",
    "Fixed",
    "Habit",
    "Observation",
    "Quantal",
    "Rational",
    "WorkerRule",
    "rule_named",
]
