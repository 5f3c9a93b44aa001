"""What `import jaxecon as je` offers, and what users implement, says what it takes and returns."""

import importlib
import inspect

import pytest

import jaxecon as je

PROTOCOLS = {
    "jaxecon.workers.base": ("WorkerRule",),
    "jaxecon.planners.base": ("Planner",),
    "llm.engines.base": ("Engine",),
    "llm.decisions.base": ("DecisionKind",),
    "jaxecon.sweeps.executor": ("Executor",),
    "jaxecon.simulation.ports": ("Listener", "ExternalWorkers"),
}
NAMES = [name for name in je.__all__ if name != "__version__"]
CLASSES = [
    (f"je.{name}", getattr(je, name)) for name in NAMES if inspect.isclass(getattr(je, name))
]
CLASSES += [
    (f"{module}.{name}", getattr(importlib.import_module(module), name))
    for module, names in PROTOCOLS.items()
    for name in names
]
FUNCTIONS = [(f"je.{name}", getattr(je, name)) for name in NAMES if callable(getattr(je, name))]
FUNCTIONS = [(name, thing) for name, thing in FUNCTIONS if not inspect.isclass(thing)]
METHODS = [
    (f"{name}.{attribute}", member)
    for name, owner in CLASSES
    for attribute, member in vars(owner).items()
    if not attribute.startswith("_") and inspect.isfunction(inspect.unwrap(member))
    if name != "je.Config"
]


def problems(name, function):
    """What its docstring lacks of Google's style."""
    text = inspect.getdoc(function) or ""
    if not text:
        return [f"{name}: no docstring"]
    found = []
    summary, *rest = text.split("\n")
    if not summary.endswith((".", "?")):
        found.append(f"{name}: the first line is no sentence: {summary!r}")
    if rest and rest[0]:
        found.append(f"{name}: no blank line after the first")
    parameters = inspect.signature(inspect.unwrap(function)).parameters
    taken = [p for p in parameters if p not in ("self", "cls") and not p.startswith("_")]
    if len(taken) and "Args:" not in text:
        found.append(f"{name}: no Args:")
    elif taken:
        arguments = text.split("Args:")[1]
        found += [f"{name}: Args lacks {p}" for p in taken if f"{p}:" not in arguments]
    returns = inspect.signature(inspect.unwrap(function)).return_annotation
    if returns not in (None, "None", inspect.Signature.empty) and not (
        "Returns:" in text or "Yields:" in text or summary.startswith(("Whether", "Return"))
    ):
        found.append(f"{name}: no Returns:")
    return found


@pytest.mark.parametrize(("name", "function"), FUNCTIONS, ids=[name for name, _ in FUNCTIONS])
def test_functions_say_what_they_take_and_return(name, function):
    assert not problems(name, function)


@pytest.mark.parametrize(("name", "function"), METHODS, ids=[name for name, _ in METHODS])
def test_methods_say_what_they_take_and_return(name, function):
    assert not problems(name, function)


@pytest.mark.parametrize(("name", "thing"), CLASSES, ids=[name for name, _ in CLASSES])
def test_classes_say_what_they_are(name, thing):
    text = inspect.getdoc(thing) or ""
    summary, *rest = text.split("\n")
    assert summary.endswith(".")
    assert not rest or not rest[0], "no blank line after the first"
