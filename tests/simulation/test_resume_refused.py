"""What a resumed run may differ in, and what is refused or recorded."""

import hashlib
import json
import subprocess
import sys

import pytest
import yaml
from support.runs import HYBRID, MECHANICAL, assert_same_run, run_killed, snapshot

import jaxecon as je
from jaxecon.core.errors import UserError
from jaxecon.storage import provenance
from jaxecon.storage.recorder import Recorder


def edited(path, **changes):
    given = yaml.safe_load((path / "config.yaml").read_text())
    (path / "config.yaml").write_text(yaml.safe_dump({**given, **changes}))


def test_another_configuration_is_refused_or_recorded(tmp_path):
    killed = run_killed(MECHANICAL, tmp_path / "run", year=1)
    edited(killed, welfare={"penalty": 0.7})
    before = snapshot(killed)
    with pytest.raises(
        UserError,
        match=r"began with: welfare.penalty: 0.5 -> 0.7; --force continues and records it",
    ):
        je.resume(killed)
    assert snapshot(killed) == before
    run = je.resume(killed, force=True)
    assert run.years.num_rows == 3
    assert run.manifest["resumed"][0]["changed"] == ["welfare.penalty: 0.5 -> 0.7"]
    assert run.manifest["configuration"]["welfare"]["penalty"] == 0.7
    # the years before are the ones that were
    assert (
        run.years.slice(0, 2)
        .drop_columns(["seconds"])
        .equals(je.load(tmp_path / "run").years.slice(0, 2).drop_columns(["seconds"]))
    )


def test_settings_that_change_nothing_are_free(tmp_path):
    killed = run_killed(MECHANICAL, tmp_path / "run", year=1)
    run = je.resume(
        killed, overrides=["checkpoint.keep_last=1", "llm.budget_tokens=5", "llm.kv_cache_gib=1"]
    )
    assert_same_run(run.path, tmp_path / "run")
    # and kept: the next resume continues with them
    assert (run.config.checkpoint.keep_last, run.config.llm.budget_tokens) == (1, 5)
    assert run.manifest["configuration"] == run.config.model_dump(mode="json")
    (entry,) = run.manifest["resumed"]
    assert entry["changed"] == []
    assert entry["harmless"] == [
        "llm.kv_cache_gib: 2.0 -> 1.0",
        "llm.budget_tokens: None -> 5",
        "checkpoint.keep_last: 100 -> 1",
    ]
    assert je.replay(run.path).equal  # nothing of what it computes was changed


def test_other_code_is_refused_or_recorded(tmp_path, monkeypatch):
    killed = run_killed(MECHANICAL, tmp_path / "run", year=1)
    monkeypatch.setattr(provenance, "_code_hash", lambda: "f" * 64)
    with pytest.raises(UserError, match=r"jaxecon's code: [0-9a-f]{12} -> ffffffffffff"):
        je.resume(killed)
    run = je.resume(killed, force=True)
    assert "-> ffffffffffff" in run.manifest["resumed"][0]["changed"][0]
    assert_same_run(run.path, tmp_path / "run")


def test_another_model_is_refused_or_recorded(tmp_path):
    from llm.engines.simulated import SimulatedEngine

    class Other(SimulatedEngine):
        @property
        def identity(self):
            return {"engine": "simulated", "model": "another"}

    killed = run_killed(HYBRID, tmp_path / "run", year=1)
    with pytest.raises(
        UserError, match=r"llm's model: none \(boundedly rational rules, version 2\) -> another"
    ):
        je.resume(killed, engine=Other())
    run = je.resume(killed, engine=Other(), force=True)
    assert run.manifest["status"] == "complete"
    assert any("another" in change for change in run.manifest["resumed"][0]["changed"])
    assert run.manifest["identities"]["llm"]["model"] == "another"
    with pytest.raises(UserError, match=r"was changed on its way .* which a replay cannot repeat"):
        je.replay(run.path)


def test_a_transcript_that_lost_answers_is_refused(tmp_path):
    import sqlite3

    killed = run_killed(HYBRID, tmp_path / "run", year=2, day=6)
    with sqlite3.connect(killed / "transcript.sqlite") as db:
        (before,) = db.execute("SELECT sum(requests) FROM sums").fetchone()
        db.execute("UPDATE sums SET requests = requests - 20")
    with pytest.raises(UserError, match=r"requests in transcript.sqlite: \d+ -> \d+; --force"):
        je.resume(killed)
    with sqlite3.connect(killed / "transcript.sqlite") as db:
        assert db.execute("SELECT sum(requests) FROM sums").fetchone()[0] < before


def test_a_run_of_an_older_jaxecon(tmp_path):
    run = je.run(MECHANICAL, out=tmp_path / "run")
    manifest = {k: v for k, v in run.manifest.items() if k != "configuration"}
    (run.path / "manifest.json").write_text(json.dumps(manifest))
    for go_on in (je.resume, je.replay, lambda path: je.branch(path, year=1, out=tmp_path / "b")):
        with pytest.raises(UserError, match="without checkpoints; it cannot be continued"):
            go_on(run.path)


def test_other_people_cannot_be_forced(tmp_path):
    killed = run_killed(MECHANICAL, tmp_path / "run", year=1)
    edited(killed, population={"mechanical": 40, "llm": 0})
    before = snapshot(killed)
    with pytest.raises(UserError, match="this configuration needs"):
        je.resume(killed, force=True)
    assert snapshot(killed) == before


def test_another_machine_is_reported(tmp_path, monkeypatch):
    killed = run_killed(MECHANICAL, tmp_path / "run", year=1)
    manifest = json.loads((killed / "manifest.json").read_text())
    manifest["hardware"]["visible_cores"] = 64
    manifest["hardware"]["devices"] = ["gpu: NVIDIA H100"]
    (killed / "manifest.json").write_text(json.dumps(manifest))
    told = []
    je.resume(killed, tell=told.append)
    assert [line.split(":")[0] for line in told[0].inexact] == ["visible_cores", "devices"]


def test_two_processes_on_one_run(tmp_path):
    """Neither written twice, nor read while its checkpoints come and go."""
    killed = run_killed(MECHANICAL, tmp_path / "run", year=1)
    recorder = Recorder.open(killed)
    for read in (
        je.digest,
        je.replay,
        lambda path: je.branch(path, year=0, out=tmp_path / "branch"),
    ):
        with pytest.raises(
            UserError, match="is being written by another process, which must end first"
        ):
            read(killed)
    done = subprocess.run(
        [sys.executable, "-m", "jaxecon", "resume", str(killed)], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert f"{killed}: is being written by another process, which must end first" in done.stderr
    recorder.close()
    je.resume(killed)
    assert_same_run(killed, tmp_path / "run")


def test_free_settings_of_a_complete_run_are_kept(tmp_path):
    run = je.run(MECHANICAL, out=tmp_path / "run")
    je.resume(run.path, overrides=["llm.budget_tokens=5"])
    assert je.load(run.path).config.llm.budget_tokens == 5


@pytest.mark.parametrize("year", [2])
def test_simulated_years_cannot_be_taken_back(tmp_path, year):
    run = je.run(MECHANICAL, out=tmp_path / "run")
    before = snapshot(run.path)
    with pytest.raises(UserError, match=r"years: 2; .* has already simulated 3"):
        je.resume(run.path, force=True, overrides=[f"years={year}"])
    with pytest.raises(UserError, match="this configuration needs"):
        je.resume(run.path, force=True, overrides=["population.mechanical=40"])
    assert snapshot(run.path) == before


def test_microdata_that_changed_is_refused(tmp_path):
    people = tmp_path / "people.csv"
    people.write_text("skill\n500\n1000\n")
    population = {"skills": "file", "file": str(people), "mechanical": 8, "llm": 0}
    killed = run_killed({**MECHANICAL, "population": population}, tmp_path / "run", year=1)
    people.write_text("skill\n500\n2000\n")
    with pytest.raises(UserError, match=r"the content of population.file"):
        je.resume(killed)


def test_another_rule_of_the_same_name_is_refused_or_recorded(tmp_path, monkeypatch):
    """A user's own rule is code that the run depends on."""
    source = "from jaxecon.workers import Rational\nclass Mine(Rational):\n    pass\n"
    (tmp_path / "resumed_rule.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    cohorts = [
        {"name": "q", "rule": "quantal", "size": 4},
        {"name": "m", "rule": "resumed_rule:Mine", "size": 4},
    ]
    killed = run_killed(
        {**MECHANICAL, "population": {"cohorts": cohorts}}, tmp_path / "run", year=1
    )
    expected = hashlib.sha256(source.encode()).hexdigest()
    assert je.load(killed).manifest["files"] == {"population.cohorts.1.rule": expected}
    (tmp_path / "resumed_rule.py").write_text(source + "# and more\n")
    with pytest.raises(
        UserError,
        match=r"not what the run began with: the content of population.cohorts.1.rule; --force",
    ):
        je.resume(killed)
    resumed = je.resume(killed, force=True)
    assert resumed.manifest["resumed"][0]["changed"] == ["the content of population.cohorts.1.rule"]
    assert resumed.manifest["files"]["population.cohorts.1.rule"] != expected
