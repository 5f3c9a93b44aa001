"""A branch that is interrupted, at whatever moment, goes on by the command that is named."""

import shutil
import sys

import pytest
from support.runs import At, interrupt, snapshot

import jaxecon as je
from jaxecon.cli.errors import saying_how_to_continue
from jaxecon.core.errors import Interrupted, UserError
from jaxecon.simulation.changes import changed_settings
from jaxecon.simulation.loop import Simulation
from jaxecon.storage.digest import digest
from jaxecon.storage.recorder import Recorder

OVERRIDES = ["years=3", "schedule.rates=0.4"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = {
        "years": 2,
        "year": {"days": 2},
        "population": {"mechanical": 10, "llm": 2},
        "llm": {"engine": "simulated"},
        "planner": {"kind": "fixed", "compared_with": ["us_federal"]},
        "survey": {
            "questions": [{"name": "mood", "ask": "Well?", "choices": ["a", "b"], "years": [0]}]
        },
    }
    return je.run(config, out=tmp_path_factory.mktemp("origin") / "run").path


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory):
    """Three futures that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole") / "futures"
    return je.branch(run, year=1, out=out, overrides=OVERRIDES, seeds=3)


def begin(run, out, **options):
    return je.branch(run, year=1, out=out, overrides=OVERRIDES, **options)


def test_before_its_first_checkpoint_nothing_is_left(run, whole, tmp_path, monkeypatch):
    out = tmp_path / "branch"
    with monkeypatch.context() as patch:
        patch.setattr(Simulation, "save", lambda *_, **__: interrupt())
        with pytest.raises(Interrupted):
            begin(run, out)
    assert not out.exists()
    assert digest(begin(run, out)[0].path) == digest(whole[0].path)


def test_as_soon_as_it_is_a_run_it_can_be_resumed(run, whole, tmp_path, monkeypatch):
    """And what a kill leaves before that is in nobody's way."""
    out, first, unbegun = (tmp_path / name for name in ("branch", "first", "unbegun"))
    original = Recorder.begin

    def copied(recorder):
        shutil.copytree(out, unbegun)
        original(recorder)
        shutil.copytree(out, first)

    monkeypatch.setattr(Recorder, "begin", copied)
    begin(run, out)
    monkeypatch.setattr(Recorder, "begin", original)
    assert not (unbegun / "manifest.json").exists()
    # the copy of the run from which it branched is found by the way from the folder
    shutil.copytree(run, tmp_path / "run")
    assert digest(je.resume(first).path) == digest(whole[0].path)
    assert digest(begin(run, unbegun)[0].path) == digest(whole[0].path)


def test_the_same_command_continues_several_futures(run, whole, tmp_path):
    """Finished ones are kept as they are, interrupted ones resumed, missing ones begun."""
    out, told = tmp_path / "futures", []
    seen = []

    def interrupt_the_second():
        seen.append(1)
        if len(seen) == 2:
            interrupt()

    with pytest.raises(Interrupted):
        begin(run, out, seeds=3, listener=At(interrupt_the_second, year=2, day=1))
    kept = snapshot(out / "future-0")
    assert (out / "future-1").exists()
    assert not (out / "future-2").exists()
    futures = begin(run, out, seeds=3, tell=told.append)
    assert (told[0].kept, told[0].continued) == (1, 1)
    assert snapshot(out / "future-0") == kept
    assert [digest(f.path) for f in futures] == [digest(f.path) for f in whole]
    before = snapshot(out)
    begin(run, out, seeds=3)
    assert snapshot(out) == before
    with pytest.raises(UserError, match=r"future-0: already holds another run \(schedule.rates"):
        je.branch(run, year=1, out=out, overrides=["years=3", "schedule.rates=0.2"], seeds=3)
    with pytest.raises(UserError, match="future-0: already holds another run"):
        je.branch(run, year=2, out=out, overrides=OVERRIDES, seeds=3)
    assert snapshot(out) == before


def test_a_branch_that_asks_no_question_says_so(run, tmp_path):
    told = []
    with pytest.raises(Interrupted):
        begin(run, tmp_path / "b", tell=told.append, listener=At(interrupt, year=1, day=1))
    assert told[0].notes == ("survey: every question is of years before 1, so that none is asked",)


@pytest.mark.parametrize(
    ("begun", "command"), [(False, "jaxecon branch r --out 'a b'"), (True, "jaxecon resume 'a b'")]
)
def test_the_command_that_is_named_works(tmp_path, monkeypatch, capsys, begun, command):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["/bin/jaxecon", "branch", "r", "--out", "a b"])
    folder = tmp_path / "a b"
    folder.mkdir()
    if begun:
        (folder / "manifest.json").touch()
    with (
        pytest.raises(SystemExit),
        saying_how_to_continue("resume", "a b", begun=folder / "manifest.json"),
    ):
        interrupt()
    assert capsys.readouterr().err == f"jaxecon: interrupted; continue with: {command}\n"


def test_changed_lists_are_told_shortly(run):
    """As YAML writes them on one line, not as Python does."""
    config = je.load(run).config
    before = config.model_dump(mode="json")
    before["survey"]["questions"] = []
    before["planner"]["compared_with"] = ["optimum"]
    lines = {
        line.partition(":")[0]: line for kind in changed_settings(before, config) for line in kind
    }
    assert lines["planner.compared_with"] == "planner.compared_with: [optimum] -> [us_federal]"
    assert lines["survey.questions"].startswith("survey.questions: [] -> [{name: mood, ask: ")
    assert len(lines["survey.questions"]) < 150
