"""The decision rules by the names that configurations use (`jaxecon.config.names.RULES`)."""

from functools import cache

from jaxecon.core.errors import UserError
from jaxecon.workers.adaptive import Adaptive
from jaxecon.workers.base import WorkerRule
from jaxecon.workers.fixed import Fixed
from jaxecon.workers.habit import Habit
from jaxecon.workers.quantal import Quantal
from jaxecon.workers.rational import Rational
from jaxecon.workers.social import Adversarial, Altruistic
from jaxecon.workers.users_rule import users_rule

RULES: dict[str, WorkerRule] = {
    "rational": Rational(),
    "quantal": Quantal(),
    "adaptive": Adaptive(),
    "habit": Habit(),
    "fixed": Fixed(),
    "altruistic": Altruistic(),
    "adversarial": Adversarial(),
}


@cache  # one object per rule: rules are part of compiled programs, and equal ones must share these
def rule_named(name: str) -> WorkerRule:
    """Return a rule of RULES, or a user's own `package.module:Class`, made without arguments.

    Raises:
        UserError: if there is no such rule, with a message of one line.
    """
    if name in RULES:
        return RULES[name]
    if ":" not in name:
        raise UserError(f"rule: {name!r}; one of {', '.join(RULES)}, or package.module:Class")
    return users_rule(name)
