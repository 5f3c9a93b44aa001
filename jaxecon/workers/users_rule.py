"""A user's own rule, whose mistakes are one line with the rule, its method and the place."""

import errno
import importlib
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import jaxecon
from jaxecon.core.draws import Draws
from jaxecon.core.errors import EngineError, UserError, first_line, is_out_of_memory
from jaxecon.core.text import shortened, shown
from jaxecon.kernels.equilibrium import Outcome
from jaxecon.kernels.taxation import TaxSchedule
from jaxecon.workers.base import Cohort, Observation, Parameters, Plan, State, WorkerRule

_METHODS = ("parameters", "init", "start_year", "act", "learn")  # of a WorkerRule
_MAX_SHOWN = 200  # characters of an error or a value in a message
_OURS = str(Path(jaxecon.__file__).parent)


class UsersRule:
    """The rule `package.module:Class`: calls the user's object and checks what it returns.

    Every error is a UserError of one line. What can only be seen in numbers, such as hours that
    are no numbers, is left to the run.
    """

    def __init__(self, name: str, rule: WorkerRule) -> None:
        self._name, self.users = name, rule

    def parameters(self, **values: float) -> Parameters:
        try:
            parameters = self.users.parameters(**values)
        except ValueError as error:  # the protocol's own way to refuse a parameter
            raise UserError(shortened(first_line(error), _MAX_SHOWN)) from error
        except (Exception, SystemExit) as error:
            raise self._broken("parameters", error) from error
        for leaf in jax.tree.leaves(parameters):
            if not _is_finite_number(leaf):
                raise self._wrong("parameters", shown(leaf, _MAX_SHOWN), "finite numbers")
        return parameters

    def init(
        self, params: Parameters, cohort: Cohort, schedule: TaxSchedule, rebate: Array
    ) -> State:
        state = self._call("init", params, cohort, schedule, rebate)
        for leaf in jax.tree.leaves(state):
            shape = _shape(leaf)
            if shape is None or shape[:1] != (cohort.size,):
                needed = f"arrays whose first axis has length {cohort.size}"
                raise self._wrong("init", _form(leaf), needed)
        return state

    def start_year(
        self, params: Parameters, cohort: Cohort, state: State, schedule: TaxSchedule
    ) -> tuple[State, Plan]:
        new, plan = self._pair("start_year", "plan", params, cohort, state, schedule)
        self._check_state("start_year", state, new)
        return new, plan

    def act(
        self, params: Parameters, plan: Plan, state: State, draws: Draws, observation: Observation
    ) -> tuple[Array, State]:
        hours, new = self._pair("act", "state", params, plan, state, draws, observation)
        if _shape(hours) != draws.first.shape:
            needed = f"numbers of the shape {draws.first.shape}"
            raise self._wrong("act", f"hours {_form(hours)}", needed)
        self._check_state("act", state, new)
        return jnp.asarray(hours), new

    def learn(
        self, params: Parameters, plan: Plan, state: State, hours: Array, outcome: Outcome
    ) -> State:
        new = self._call("learn", params, plan, state, hours, outcome)
        self._check_state("learn", state, new)
        return new

    def _call(self, method: str, *arguments: Any) -> Any:
        try:
            return getattr(self.users, method)(*arguments)
        except UserError:
            raise
        except (Exception, SystemExit) as error:  # a user's rule may raise anything
            if _is_of_the_machine(error):
                raise
            raise self._broken(method, error) from error

    def _pair(self, method: str, second: str, *arguments: Any) -> tuple[Any, Any]:
        returned = self._call(method, *arguments)
        if not isinstance(returned, tuple) or len(returned) != 2:
            first = "hours" if method == "act" else "state"
            raise self._wrong(method, _form(returned), f"a pair of {first} and {second}")
        return returned

    def _check_state(self, method: str, old: State, new: State) -> None:
        """Raise UserError unless a state has the structure, shapes and types of the one before."""
        structures = [str(jax.tree.structure(state)) for state in (old, new)]
        if structures[0] != structures[1]:
            before, after = (shortened(structure, _MAX_SHOWN) for structure in structures)
            raise self._wrong(method, f"a state of the structure {after}", f"{before}, as before")
        for before, after in zip(jax.tree.leaves(old), jax.tree.leaves(new), strict=True):
            if _form(before) != _form(after):
                needed = f"{_form(before)}, as before"
                raise self._wrong(method, f"a state with {_form(after)}", needed)

    def _wrong(self, method: str, returned: str, needed: str) -> UserError:
        return UserError(f"rule: {self._name!r}; {method} returned {returned}; needs {needed}")

    def _broken(self, method: str, error: BaseException) -> UserError:
        return UserError(f"rule: {self._name!r}; {method}: {_in_one_line(error)}")


def _is_of_the_machine(error: BaseException) -> bool:
    """Whether the machine or an engine is at fault, and no rule: memory, a disk, a model."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO)
    return full or isinstance(error, EngineError) or is_out_of_memory(error)


class UsersRuleWithLayout(UsersRule):
    """A user's rule with the optional methods of `HasDayLayout`."""

    def enter(self, state: State) -> State:
        return self._call("enter", state)

    def leave(self, state: State) -> State:
        return self._call("leave", state)


def users_rule(name: str) -> UsersRule:
    """The user's own rule of that name, `package.module:Class`, made without arguments.

    Raises UserError if there is no such rule, with a message of one line.
    """
    module_name, _, class_name = name.partition(":")
    rule_class = getattr(_module(name, module_name), class_name, None)
    missing = [m for m in _METHODS if not callable(getattr(rule_class, m, None))]
    if not isinstance(rule_class, type) or missing:
        raise UserError(
            f"rule: {name!r}; needs a class with parameters, init, start_year, act and learn "
            f"(missing: {', '.join(missing) or 'the class'})"
        )
    try:
        rule = rule_class()
    except (Exception, SystemExit) as error:
        raise UserError(
            f"rule: {name!r}; {class_name}() cannot be made without arguments "
            f"({_in_one_line(error)})"
        ) from error
    layout: Callable[..., UsersRule] = (
        UsersRuleWithLayout if hasattr(rule, "enter") and hasattr(rule, "leave") else UsersRule
    )
    return layout(name, rule)


def _module(rule: str, module: str) -> Any:
    sys.path.append(os.getcwd())  # modules in the working folder, as `python -m` finds them
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:  # a user's module may raise anything on import
        raise UserError(
            f"rule: {rule!r}; {module} cannot be imported ({_in_one_line(error)})"
        ) from error
    finally:
        sys.path.pop()


def _in_one_line(error: BaseException) -> str:
    """An error's type, the first line of its message, and the user's file and line."""
    said = shortened(first_line(error), _MAX_SHOWN)
    kind = type(error).__name__
    text = kind if said == kind else f"{kind}: {said}"
    if isinstance(error, SyntaxError):
        return text  # which names file and line
    places = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((_OURS, "<")) and "site-packages" not in frame.filename
    ]
    return f"{text} ({places[-1].filename}:{places[-1].lineno})" if places else text


def _is_finite_number(leaf: Any) -> bool:
    try:
        number = np.asarray(leaf, float)
    except (TypeError, ValueError):
        return False
    return number.shape == () and bool(np.isfinite(number))


def _shape(leaf: Any) -> tuple[int, ...] | None:
    """The shape of an array of numbers; None of anything else."""
    if leaf is None or isinstance(leaf, bool):
        return None
    try:
        jnp.result_type(leaf)  # an error for what is no number, such as a text
        return tuple(jnp.shape(leaf))
    except (TypeError, ValueError):
        return None


def _form(leaf: Any) -> str:
    """The type and shape of an array, such as float32[30]; or what else a value is."""
    shape = _shape(leaf)
    if shape is None:
        return shown(leaf, _MAX_SHOWN)
    return f"{jnp.result_type(leaf)}[{','.join(map(str, shape))}]"
