"""Run folders of an earlier format: two runs of revision 2b6951d, whose manifests are of format 1,
still load, and what is done with runs can be done with them.
"""

import json
import shutil
import tarfile
from pathlib import Path

import pytest
from support.earlier_runs import outcome

import jaxecon as je
from jaxecon.core.errors import UserError
from jaxecon.simulation.language import open_transcript
from jaxecon.storage.migrations import migrated_manifest
from jaxecon.storage.paths import CONFIG, FORMAT, MANIFEST, TRANSCRIPT

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


def test_its_replay_is_equal(earlier):
    path, expected = earlier
    replayed = outcome("replay", path, expected["digest"])
    assert (replayed["equal"], replayed["differences"]) == (True, [])
    assert any(note.startswith("jaxecon's code: bd720190606e -> ") for note in replayed["notes"])


def test_resuming_it_says_what_differs(earlier):
    path, _ = earlier
    before = snapshot(path)
    message = r"not what the run began with: jaxecon's code: bd720190606e -> \w+; --force continues"
    with pytest.raises(UserError, match=message):
        je.resume(path)
    assert snapshot(path) == before


def test_it_is_resumed_by_force(folder, tmp_path):
    """From the checkpoint before the last, with its transcript's answers; then it is of today's
    format.
    """
    path = shutil.copytree(folder / "strong-planner", tmp_path / "run")
    shutil.rmtree(path / "checkpoints" / "00000020-000000")
    run = je.load(path)
    resumed = outcome("resume", path, RUNS["strong-planner"]["digest"])
    assert resumed["equal"], resumed
    entry = resumed["entry"]
    assert entry["from"] == [17, 0]
    assert [change.split(":")[0] for change in entry["changed"]] == ["jaxecon's code"]
    stored = json.loads((path / MANIFEST).read_text())
    assert (stored["format"], "signatures" in stored) == (FORMAT, False)
    assert "signatures" not in (path / CONFIG).read_text()
    assert je.load(path).config == run.config
