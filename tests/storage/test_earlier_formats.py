"""Run folders of an earlier format: two runs of revision 2b6951d, whose manifests are of format 1,
still load, and what is done with runs can be done with them.
"""

import json
import re
import shutil
import tarfile
from pathlib import Path

import pytest

import jaxecon as je
from jaxecon.core.errors import UserError
from jaxecon.simulation.language import open_transcript
from jaxecon.storage.migrations import migrated_manifest
from jaxecon.storage.paths import CONFIG, FORMAT, MANIFEST, TRANSCRIPT
from llm.decisions.prompts import Prompts
from llm.engines.scripted import ScriptedEngine
from llm.messages import Completion

RUNS = {
    "strong-planner": {
        "digest": "96941260ad567b89ffeabbd278cbce43b7888c2eba7d275c84b054a0eaadd3a5",
        "years": 20,
        "agents": 12_000,
        "requests": {("planner", "plan"): 19},
    },
    "strong-workers": {
        "digest": "9d8dc8cc552954054906f2058a7c85fe84b72583f99ad6751fefa9433ea17301",
        "years": 3,
        "agents": 624,
        "requests": {("llm", "labor"): 120, ("llm", "satisfaction"): 24},
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("earlier")
    with tarfile.open(Path(__file__).parent / "data" / "runs-format-1.tar.xz") as archive:
        archive.extractall(path, filter="data")
    return path


@pytest.fixture(scope="module", params=RUNS)
def earlier(request, folder):
    return folder / request.param, RUNS[request.param]


def snapshot(path):
    return {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}


def test_it_loads(earlier):
    path, expected = earlier
    before = snapshot(path)
    run = je.load(path)
    assert run.years["year"].to_pylist() == list(range(expected["years"]))
    assert run.agents.num_rows == expected["agents"]
    assert (run.elections.num_rows, run.ballots.num_rows, run.past.num_rows) == (0, 0, 0)
    assert run.summary["policies"]
    assert run.last_year == expected["years"] - 1
    # what was called `signatures`
    assert json.loads((path / MANIFEST).read_text())["signatures"] == []
    assert run.manifest["diagnostics"] == []
    assert run.diagnostics == ()
    assert run.config.diagnostics.oscillating_rates.years == 10
    assert "signatures" not in run.manifest["configuration"]
    assert run.manifest["format"] == FORMAT
    assert snapshot(path) == before  # reading changes nothing


def test_an_entry_that_was_renamed_without_a_new_format():
    entries = [{"from": [1, 0], "given": ["device: gpu -> cpu"]}, {"harmless": ["threads: 1 -> 2"]}]
    for form in (1, FORMAT):
        manifest = migrated_manifest({"format": form, "resumed": entries})
        assert [entry["harmless"][0][:7] for entry in manifest["resumed"]] == ["device:", "threads"]
        assert "given" not in manifest["resumed"][0]


def test_its_digest_is_what_it_was(earlier):
    path, expected = earlier
    assert je.digest(path).combined == expected["digest"]


def test_its_transcript_can_be_read(earlier):
    path, expected = earlier
    transcript = open_transcript(path / TRANSCRIPT)
    totals = transcript.totals()
    transcript.close()
    assert {(t.cohort, t.kind): t.requests for t in totals} == expected["requests"]


def test_its_replay_is_refused(earlier):
    """Its models were asked in words that this jaxecon no longer has."""
    path, _ = earlier
    before = snapshot(path)
    message = r"asked in other words \(the prompts: an earlier form -> \w+\); only the jaxecon that"
    with pytest.raises(UserError, match=message):
        je.replay(path)
    assert snapshot(path) == before


def test_resuming_it_says_what_differs(earlier):
    path, _ = earlier
    before = snapshot(path)
    message = r"not what the run began with: jaxecon's code: bd720190606e -> \w+; --force continues"
    with pytest.raises(UserError, match=message):
        je.resume(path)
    assert snapshot(path) == before


class SamePlanner(ScriptedEngine):
    """An engine with the identity of the model that planned, and an answer of its own."""

    def __init__(self, identity):
        super().__init__(lambda request: Completion('{"changes": [0, 0, 0]}'))
        self._identity = identity

    @property
    def identity(self):
        return self._identity


def test_its_planner_goes_on_by_force(folder, tmp_path):
    """From the checkpoint before the last, with a memory of what the earlier one held; then the run
    is of today's format.
    """
    path = shutil.copytree(folder / "strong-planner", tmp_path / "run")
    shutil.rmtree(path / "checkpoints" / "00000020-000000")
    run = je.load(path)
    engine = SamePlanner(run.manifest["identities"]["planner"])
    resumed = je.resume(path, force=True, engine=engine)
    (entry,) = resumed.manifest["resumed"]
    assert entry["from"] == [17, 0]
    assert [change.split(":")[0] for change in entry["changed"]] == [
        "jaxecon's code",
        "the prompts",
    ]
    # the schedules that it remembers, with the welfare that the tables hold
    welfare = {
        tuple(round(100 * row[f"rate_{k}"]) for k in range(3)): row["swf_window"]
        for row in run.years.to_pylist()[:17]
    }
    told = engine.asked[0].messages[1].content
    rows = re.findall(r"^([\d/]+) %: (?:mean )?welfare ([\d,]+) in", told, re.MULTILINE)
    assert len(rows) == 5
    for rates, value in rows:
        assert float(value.replace(",", "")) == pytest.approx(
            welfare[tuple(map(int, rates.split("/")))], rel=0.05
        )
    stored = json.loads((path / MANIFEST).read_text())
    assert (stored["format"], "signatures" in stored) == (FORMAT, False)
    assert stored["prompts"] == Prompts().digest()
    assert "signatures" not in (path / CONFIG).read_text()
    assert je.load(path).config == run.config


def test_its_workers_cannot_go_on(folder, tmp_path):
    path = shutil.copytree(folder / "strong-workers", tmp_path / "run")
    (last, *_) = sorted((path / "checkpoints").iterdir(), reverse=True)
    shutil.rmtree(last)
    before = snapshot(path)
    engine = SamePlanner(je.load(path).manifest["identities"]["llm"])
    with pytest.raises(UserError, match="workers remember what an earlier jaxecon told them"):
        je.resume(path, force=True, engine=engine)
    assert {p: c for p, c in snapshot(path).items() if "checkpoints" in p.parts} == {
        p: c for p, c in before.items() if "checkpoints" in p.parts
    }


def test_another_future_begins_where_a_checkpoint_is(folder, tmp_path):
    """Of a year without one, the models would have to be asked again, in other words."""
    path = folder / "strong-workers"
    with pytest.raises(UserError, match=r"asked in other words .* can simulate it again"):
        je.branch(path, year=1, out=tmp_path / "branch")
