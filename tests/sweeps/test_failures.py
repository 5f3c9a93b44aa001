"""What fails one point, and what ends the whole sweep."""

import importlib

import pytest
from support.sweeps import DESIGN, NoMemory, swept

import jaxecon as je
from jaxecon.core.errors import EngineError, UserError
from jaxecon.core.files import write_atomically
from jaxecon.storage import recorder
from jaxecon.sweeps import run_point
from jaxecon.sweeps.results import Sweep


def test_an_economy_that_there_is_not_fails_alone(tmp_path):
    """With curvature everybody must have something to consume; only the built economy tells."""
    run = DESIGN["run"] | {
        "planner": {"kind": "fixed"},
        "satisfaction": {"judged": False},
        "years": 1,
        "year": {"days": 1},
    }
    run |= {
        "population": {"mechanical": 4, "llm": 0},
        "preferences": {"consumption_curvature": 1.0},
    }
    found = swept(tmp_path / "a", {"run": run, "grid": {"budget.public_spending": [0.0, 1e6]}})
    errors = found.points["error"].to_pylist()
    assert errors[0] is None
    assert errors[1].startswith("budget.public_spending: 1e+06; leaves the poorest")


def test_a_rule_that_breaks_fails_its_points_alone(tmp_path, monkeypatch):
    (tmp_path / "breaking_rule.py").write_text(
        "from jaxecon.workers import Rational\n"
        "class Broken(Rational):\n"
        "    def act(self, *given):\n"
        "        raise ArithmeticError('cannot\\nact')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    cohort = {"name": "a", "rule": "rational", "size": 4}
    run = {
        "years": 1,
        "year": {"days": 1},
        "planner": {"kind": "fixed"},
        "population": {"cohorts": [cohort]},
    }
    rules = {"population.cohorts.0.rule": ["breaking_rule:Broken", "fixed"]}
    found = swept(tmp_path / "a", {"run": run, "grid": rules})
    error, none = found.points["error"].to_pylist()
    assert error.startswith("rule: 'breaking_rule:Broken'; act: ArithmeticError: cannot")
    assert none is None


def test_a_rule_that_refuses_its_parameters_in_its_own_way(tmp_path, monkeypatch):
    (tmp_path / "bold_rule.py").write_text(
        "from jaxecon.workers import Rational\n"
        "class Bold(Rational):\n"
        "    def parameters(self, **given):\n"
        "        return {}[given['x']] if given['x'] < 0 else super().parameters()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    cohort = {"name": "a", "rule": "bold_rule:Bold", "size": 4, "parameters": {"x": 1.0}}
    run = {
        "years": 1,
        "year": {"days": 1},
        "planner": {"kind": "fixed"},
        "population": {"cohorts": [cohort]},
    }
    found = swept(
        tmp_path / "a", {"run": run, "grid": {"population.cohorts.0.parameters.x": [1.0, -1.0]}}
    )
    none, error = found.points["error"].to_pylist()
    assert none is None
    assert "rule: 'bold_rule:Bold'; parameters: KeyError: -1.0" in error


def test_what_is_no_points_fault_ends_the_sweep_and_can_be_mended(tmp_path, lm, monkeypatch):
    new_recorder = run_point.new_recorder

    def full(prepared, served):
        if "00000001" in str(prepared.folder):
            raise UserError(
                f"--out: {prepared.folder}: cannot be written (No space left on device)"
            )
        return new_recorder(prepared, served)

    monkeypatch.setattr(run_point, "new_recorder", full)
    with pytest.raises(UserError, match="No space left on device"):
        swept(tmp_path / "a", lm)
    assert Sweep(tmp_path / "a").points.num_rows == 1
    monkeypatch.undo()
    # as a kill while it was made leaves it
    (tmp_path / "a" / "runs" / "00000001" / "years.parquet").mkdir(parents=True)
    assert swept(tmp_path / "a", lm).points["status"].to_pylist() == ["ok", "ok"]


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """A rule that raises what it is told to."""
    (tmp_path / "broken_rule.py").write_text(
        "from jaxecon.workers import Rational\n"
        "raised = ArithmeticError('cannot\\nact')\n"
        "class Broken(Rational):\n"
        "    def act(self, *given):\n"
        "        raise raised\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return "broken_rule:Broken"


@pytest.fixture
def beside_lm(lm, broken):
    cohorts = [{"name": "a", "rule": "fixed", "size": 4}, {"name": "b", "rule": "llm", "size": 2}]
    run = lm["run"] | {"population": {"cohorts": cohorts}}
    return {"run": run, "grid": {"population.cohorts.0.rule": ["fixed", broken, "rational"]}}


def test_a_rule_that_breaks_beside_a_language_model_fails_its_points_alone(tmp_path, beside_lm):
    """The first time, and where its run is gone on with."""
    expected = swept(tmp_path / "a", beside_lm).points["error"].to_pylist()
    assert [error is None for error in expected] == [True, False, True]
    assert expected[1].startswith("rule: 'broken_rule:Broken'; act: ArithmeticError: cannot")
    # killed before the point was written
    (tmp_path / "a" / "points.parquet" / "part-00000001.parquet").unlink()
    found = swept(tmp_path / "a", beside_lm)
    assert found.points["error"].to_pylist() == expected
    assert found.points["status"].to_pylist() == ["ok", "failed", "ok"]
    assert je.load(tmp_path / "a" / "runs" / "00000001").manifest["resumed"][0]["from"] == [0, 0]


@pytest.mark.parametrize(
    ("raised", "row"),
    [
        (
            UserError("cohort a, agent 0: its rule must return hours"),
            "cohort a, agent 0: its rule must return hours",
        ),
        (NoMemory("RESOURCE_EXHAUSTED: Out of memory"), "out of memory: lower the cohorts' sizes"),
        (OSError(28, "No space left on device"), None),
        (EngineError("gone"), None),
    ],
    ids=["hours", "memory", "disk", "engine"],
)
def test_what_is_a_points_own_beside_a_language_model(
    tmp_path, beside_lm, monkeypatch, raised, row
):
    importlib.import_module("broken_rule")
    monkeypatch.setattr("broken_rule.raised", raised)
    if row is None:
        with pytest.raises(
            (UserError, EngineError),
            match=r"No space left on device.*; finished chunks are kept|gone",
        ):
            swept(tmp_path / "a", beside_lm)
        assert Sweep(tmp_path / "a").points.num_rows == 1
    else:
        assert swept(tmp_path / "a", beside_lm).points["error"].to_pylist() == [None, row, None]


def test_a_disk_that_is_full_while_a_model_is_asked_ends_the_sweep(tmp_path, lm, monkeypatch):
    write = write_atomically

    def full(path, content):
        if (
            "00000001" in str(path)
            and path.parent.exists()
            and list(path.parent.glob("years.parquet/*"))
        ):
            raise OSError(28, "No space left on device")
        write(path, content)

    monkeypatch.setattr(recorder, "write_atomically", full)
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\)"):
        swept(tmp_path / "a", lm)
    monkeypatch.undo()
    assert swept(tmp_path / "a", lm).points["status"].to_pylist() == ["ok", "ok"]


def test_points_that_ask_the_same_model_share_it(tmp_path, lm, monkeypatch):
    started = []
    start = run_point.start_engines
    monkeypatch.setattr(
        run_point, "start_engines", lambda *given: started.append(given) or start(*given)
    )
    swept(tmp_path / "a", lm | {"seeds": 1, "grid": {"llm.temperature": [0.0, 0.5]}})
    assert len(started) == 1
