"""Decision rules of mechanical cohorts."""

import importlib
import os
import sys
from functools import cache

from jaxecon.workers.adaptive import Adaptive
from jaxecon.workers.base import Observation, WorkerRule
from jaxecon.workers.fixed import Fixed
from jaxecon.workers.habit import Habit
from jaxecon.workers.quantal import Quantal
from jaxecon.workers.rational import Rational
from jaxecon.workers.social import Adversarial, Altruistic

__all__ = [
    "RULES",
    "Adaptive",
    "Adversarial",
    "Altruistic",
    "Fixed",
    "Habit",
    "Observation",
    "Quantal",
    "Rational",
    "WorkerRule",
    "rule_named",
]

RULES: dict[str, WorkerRule] = {
    "rational": Rational(),
    "quantal": Quantal(),
    "adaptive": Adaptive(),
    "habit": Habit(),
    "fixed": Fixed(),
    "altruistic": Altruistic(),
    "adversarial": Adversarial(),
}


@cache  # one object per rule: it is part of compiled programs, and equal rules must share them
def rule_named(name: str) -> WorkerRule:
    """A rule of RULES, or a user's own as `package.module:Class` (constructed without arguments).

    Raises ValueError, one line, where there is none.
    """
    if name in RULES:
        return RULES[name]
    module_name, colon, class_name = name.partition(":")
    if not colon:
        raise ValueError(f"rule: {name!r}; one of {', '.join(RULES)}, or package.module:Class")
    sys.path.append(os.getcwd())  # a module beside the configuration, as `python -m` would find it
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever a user's module does on import
        raise ValueError(
            f"rule: {name!r}; {module_name} cannot be imported ({type(error).__name__}: {error})"
        ) from error
    finally:
        sys.path.pop()
    found = getattr(module, class_name, None)
    missing = [
        m
        for m in ("parameters", "init", "start_year", "act", "learn")
        if not callable(getattr(found, m, None))
    ]
    if not isinstance(found, type) or missing:
        raise ValueError(
            f"rule: {name!r}; needs a class with parameters, init, start_year, act and learn "
            f"(missing: {', '.join(missing)})"
        )
    rule: WorkerRule = found()
    return rule
