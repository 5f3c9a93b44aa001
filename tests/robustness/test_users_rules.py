"""A mistake in a user's own rule is one line with the rule, its method and the place."""

import re
import textwrap

import pytest

import jaxecon as je
from jaxecon.core.errors import InvariantError, UserError
from jaxecon.workers.registry import rule_named

RIGHT = {
    "parameters": ("self, **values", "return {'pull': values.get('pull', 0.5)}"),
    "init": ("self, p, cohort, schedule, rebate", "return {'hours': cohort.skill * 0 + 30}"),
    "start_year": ("self, p, cohort, state, schedule", "return state, None"),
    "act": ("self, p, plan, state, draws, observation", "return state['hours'], state"),
    "learn": ("self, p, plan, state, hours, outcome", "return state"),
}

BROKEN = [
    ("parameters", "raise KeyError('boom')", "parameters: KeyError: 'boom' (MODULE:LINE)"),
    ("parameters", "raise ValueError('parameters.x: 3; at most 2')", "cohorts.0.parameters.x: 3;"),
    ("parameters", "return {'pull': 'x'}", "parameters returned 'x'; needs finite numbers"),
    ("parameters", "return {'pull': float('nan')}", "parameters returned nan; needs finite"),
    ("parameters", "raise SystemExit(0)", "parameters: SystemExit: 0 (MODULE:LINE)"),
    ("init", "raise RuntimeError('broke\\nand more')", "init: RuntimeError: broke (MODULE:LINE)"),
    ("init", "raise RuntimeError", "init: RuntimeError (MODULE:LINE)"),
    ("init", "raise RuntimeError('x' * 9999)", "init: RuntimeError: xxx"),
    ("init", "return 3.0", "init returned float32[]; needs arrays whose first axis has length 9"),
    ("init", "return cohort.skill[:-1]", "init returned float32[8]; needs arrays whose first"),
    ("init", "return {'a': 'text'}", "init returned 'text'; needs arrays"),
    ("init", "return cohort.skills", "init: AttributeError: 'Cohort' object has no"),
    ("init", "return self.init(p, cohort, schedule, rebate)", "init: RecursionError: maximum"),
    ("start_year", "return state", "start_year returned {'hours': "),
    ("start_year", "return 1 / 0", "start_year: ZeroDivisionError: division by zero (MODULE:LINE)"),
    ("start_year", "return {}, None", "start_year returned a state of the structure PyTreeDef({})"),
    ("act", "return state['hours']", "act returned float32[9]; needs a pair of hours and state"),
    ("act", "return 40.0, state", "act returned hours float32[]; needs numbers of the shape (9,)"),
    ("act", "return state['hours'][:3], state", "act returned hours float32[3]; needs numbers"),
    ("act", "return 'many', state", "act returned hours 'many'; needs numbers"),
    ("act", "return None, state", "act returned hours None; needs numbers"),
    ("act", "return state['hours'], None", "act returned a state of the structure PyTreeDef(None)"),
    ("act", "return state['minutes'], state", "act: KeyError: 'minutes' (MODULE:LINE)"),
    (
        "act",
        "return (0 if state['hours'].sum() > 0 else state['hours']), state",
        "act: TracerBoolConversionError: Attempted boolean conversion of traced array with shape "
        "bool[]. (MODULE:LINE)",
    ),
    ("learn", "return state['hours']", "learn returned a state of the structure PyTreeDef(*)"),
    (
        "learn",
        "return {'hours': state['hours'].astype(int)}",
        "learn returned a state with int32[9]; needs float32[9], as before",
    ),
    (
        "learn",
        "return {'hours': state['hours'][:, None]}",
        "learn returned a state with float32[9,1]; needs float32[9], as before",
    ),
]


def written_rule(folder, module, method="", body=""):
    """Write a module with a right rule, one of whose methods has another body."""
    lines = ["class Rule:"]
    for name, (arguments, right) in RIGHT.items():
        lines += [f"    def {name}({arguments}):", f"        {body if name == method else right}"]
    (folder / f"{module}.py").write_text("\n".join(lines))
    return f"{module}:Rule", 3 + 2 * list(RIGHT).index(method) if method else 0


def run(rule, out):
    cohort = {"name": "a", "rule": rule, "size": 9}
    return je.run(
        {
            "population": {"cohorts": [cohort]},
            "planner": {"kind": "fixed", "compared_with": []},
            "schedule": {"brackets": "flat"},
            "years": 1,
            "year": {"days": 2},
        },
        out=out,
    )


@pytest.mark.parametrize("number", range(len(BROKEN)))
def test_a_broken_method_is_named_in_one_line(tmp_path, monkeypatch, number):
    method, body, message = BROKEN[number]
    monkeypatch.chdir(tmp_path)
    rule, line = written_rule(tmp_path, f"broken_rule_{number}", method, body)
    with pytest.raises(UserError) as caught:
        run(rule, tmp_path / "run")
    said = str(caught.value)
    assert "\n" not in said
    assert len(said) < 800
    place = f"{tmp_path / f'broken_rule_{number}.py'}:{line}"
    assert message.replace("MODULE:LINE", place) in said
    if "must return" not in said and "cohorts.0.parameters" not in said:
        assert re.search(rf"rule: '{re.escape(rule)}'; {method}\b", said)


@pytest.mark.parametrize(("body", "hours"), [("* float('nan')", "nan"), ("- 99", "-69")])
def test_impossible_hours_end_the_run(tmp_path, monkeypatch, body, hours):
    monkeypatch.chdir(tmp_path)
    module = f"impossible_{hours.strip('-')}"
    rule, _ = written_rule(tmp_path, module, "act", f"return state['hours'] {body}, state")
    with pytest.raises(
        InvariantError, match=rf"day 0: its rule must return hours in \[0, 100\].* {hours}"
    ):
        run(rule, tmp_path / "run")


def test_a_right_rule_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rule, _ = written_rule(tmp_path, "right_rule")
    assert run(rule, tmp_path / "run").summary["realised"]["mean_hours"] == pytest.approx(30)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise RuntimeError('broke\\nand more')", "(RuntimeError: broke (MODULE:1))"),
        ("import sys; sys.exit()", "cannot be imported (SystemExit (MODULE:1))"),
        ("x = (", "cannot be imported (SyntaxError: '(' was never closed"),
        ("Rule = 3", "(missing: parameters, init, start_year, act, learn)"),
        ("", "needs a class with parameters"),
        (
            """\
            class Rule:
                def __init__(self, x): pass
                def parameters(self): pass
                init = start_year = act = learn = parameters
            """,
            "Rule() cannot be made without arguments (TypeError: ",
        ),
    ],
)
def test_a_module_that_has_no_rule(tmp_path, monkeypatch, source, message):
    monkeypatch.chdir(tmp_path)
    module = f"no_rule_{abs(hash(source))}"
    (tmp_path / f"{module}.py").write_text(textwrap.dedent(source))
    with pytest.raises(UserError) as caught:
        rule_named(f"{module}:Rule")
    said = str(caught.value)
    assert message.replace("MODULE", str(tmp_path / f"{module}.py")) in said
    assert "\n" not in said


@pytest.mark.parametrize(
    "name", ["nothing", ":", ":Rule", "os:", "os:path", "..os:A", "a b:c", "é:"]
)
def test_names_of_no_rule(name):
    with pytest.raises(UserError, match=r"^rule: "):
        rule_named(name)
