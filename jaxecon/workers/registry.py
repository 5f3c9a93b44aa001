"""The decision rules by the names that configurations use (`jaxecon.config.names.RULES`)."""

import importlib
import os
import sys
from functools import cache

from jaxecon.workers.adaptive import Adaptive
from jaxecon.workers.base import WorkerRule
from jaxecon.workers.fixed import Fixed
from jaxecon.workers.habit import Habit
from jaxecon.workers.quantal import Quantal
from jaxecon.workers.rational import Rational
from jaxecon.workers.social import Adversarial, Altruistic

_METHODS = ("parameters", "init", "start_year", "act", "learn")  # of a WorkerRule

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
        ValueError: if there is no such rule, with a message of one line.
    """
    return RULES[name] if name in RULES else _users_rule(name)


def _users_rule(name: str) -> WorkerRule:
    module_name, colon, class_name = name.partition(":")
    if not colon:
        raise ValueError(f"rule: {name!r}; one of {', '.join(RULES)}, or package.module:Class")
    sys.path.append(os.getcwd())  # modules in the working folder, as `python -m` finds them
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # a user's module may raise anything on import
        raise ValueError(
            f"rule: {name!r}; {module_name} cannot be imported ({type(error).__name__}: {error})"
        ) from error
    finally:
        sys.path.pop()
    rule_class = getattr(module, class_name, None)
    missing = [m for m in _METHODS if not callable(getattr(rule_class, m, None))]
    if not isinstance(rule_class, type) or missing:
        raise ValueError(
            f"rule: {name!r}; needs a class with parameters, init, start_year, act and learn "
            f"(missing: {', '.join(missing)})"
        )
    rule: WorkerRule = rule_class()
    return rule
