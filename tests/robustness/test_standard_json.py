"""All JSON that is written or printed is standard: no NaN, no infinities."""

import ast
import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxecon
import jaxecon as je
from jaxecon.cli.commands.run import print_end
from jaxecon.core.json_text import json_text

PACKAGE = Path(jaxecon.__file__).parent
# keys, identities and texts for language models, which nobody reads as files of JSON
OTHERS = {
    "cli/commands/transcript.py",  # the stored form of a decision that is searched for
    "cli/output/transcript.py",  # a decision within a line of text
    "config/request_extras.py",  # whether a body is JSON
    "config/survey.py",
    "core/json_text.py",
    "storage/parts.py",  # names, counts and hashes
    "storage/portable.py",  # a path as it stands within JSON
    "sweeps/design.py",
    "sweeps/points.py",
    "sweeps/results.py",
    "sweeps/rows.py",
    "sweeps/run_point.py",
}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def strictly(text):
    def refuse(constant):
        raise AssertionError(f"not JSON: {constant}")

    return json.loads(text, parse_constant=refuse)


def expected(value):
    if isinstance(value, dict):
        return {key: expected(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [expected(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@settings(max_examples=50, deadline=None)
@given(VALUES, st.sampled_from([None, 1]))
def test_whatever_is_written_can_be_read(value, indent):
    assert strictly(json_text(value, indent=indent)) == expected(value)


def test_only_one_function_writes_json():
    """Whoever calls json.dump or json.dumps elsewhere may write NaN."""
    writers = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in ("json.dump", "json.dumps"):
                writers.add(path.relative_to(PACKAGE).as_posix())
    assert writers <= OTHERS


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run in which nobody has an income in the highest bracket."""
    config = {
        "years": 1,
        "year": {"days": 1},
        "population": {"mechanical": 6, "llm": 0},
        "schedule": {"brackets": [0, 50_000, 1e9], "rates": 0.3},
        "planner": {"kind": "fixed", "compared_with": ["us_federal"]},
    }
    return je.run(config, out=tmp_path_factory.mktemp("json") / "run")


def test_an_empty_bracket_is_null(run):
    files = [path for path in run.path.rglob("*") if path.suffix == ".json"]
    assert len(files) > 1
    for path in files:
        strictly(path.read_text())
    final = run.summary["policies"][-1]
    assert final["bracket_people"][-1] == 0
    assert final["bracket_weight"][-1] is None


def test_printed_json_is_standard(run, capsys):
    print_end(run, as_json=True)
    printed = strictly(capsys.readouterr().out)
    assert printed["status"] == "complete"
    assert printed["policies"][-1]["bracket_weight"][-1] is None
