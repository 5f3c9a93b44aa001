"""Files of another run or sweep in place of its own: refused in one line that names them."""

import json
import shutil
from contextlib import closing

import pytest
from support.runs import HYBRID, MECHANICAL, run_killed, snapshot, without_run_id

import jaxecon as je
from jaxecon.core.errors import DiskError, UserError
from jaxecon.simulation.language import open_transcript

pytestmark = pytest.mark.usefixtures("no_git")

TINY = {
    **MECHANICAL,
    "years": 3,
    "year": {"days": 2},
    "population": {"mechanical": 8, "llm": 0},
    "planner": {"kind": "fixed", "compared_with": ["us_federal"]},
    "checkpoint": {"every_years": 1, "every_minutes": None, "keep_last": 100},
}
ASKING = {
    **TINY,
    "years": 2,
    "population": {"mechanical": 8, "llm": 2},
    "llm": HYBRID["llm"],
    "checkpoint": {"every_days": 1, "every_minutes": None, "keep_last": 100},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two complete runs that differ in their seed only."""
    folder = tmp_path_factory.mktemp("runs")
    return [je.run({**TINY, "seed": seed}, out=folder / f"r{seed}").path for seed in (0, 1)]


@pytest.fixture(scope="module")
def asking(tmp_path_factory):
    """Two runs of one configuration with language models, complete and as they were before."""
    folder = tmp_path_factory.mktemp("asking")
    return [run_killed(ASKING, folder / name, year=1, day=2) for name in ("a", "b")]


@pytest.fixture
def mixed(request, runs, tmp_path):
    """A copy of the first run with some of the second's files."""
    folder = shutil.copytree(runs[0], tmp_path / "mixed")
    for name in request.param:
        replace(folder / name, runs[1] / name)
    return folder


def replace(target, source):
    if source.is_dir():
        shutil.rmtree(target)
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target)


READERS = {
    "resume": lambda run, out: je.resume(run),
    "longer": lambda run, out: je.resume(run, overrides=["years=4"]),
    "forced": lambda run, out: je.resume(run, overrides=["years=4"], force=True),
    "branch": lambda run, out: je.branch(run, year=1, out=out),
    "replay": lambda run, out: je.replay(run),
    "digest": lambda run, out: je.digest(run),
    "repair": lambda run, out: je.repair(run),
}


def refused(reader, run, out, line):
    before = snapshot(run)
    with pytest.raises(UserError, match=line) as error:
        READERS[reader](run, out)
    assert "\n" not in str(error.value)
    after = snapshot(run)
    # with which SQLite reads a transcript
    assert {p: c for p, c in after.items() if not p.name.endswith(("-shm", "-wal"))} == {
        p: c for p, c in before.items() if not p.name.endswith(("-shm", "-wal"))
    }
    assert not out.exists()


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("mixed", [("checkpoints",)], indirect=True)
def test_checkpoints_of_another_run(mixed, tmp_path, reader):
    line = r"checkpoints/0000000[13]-000000: another run's \(its run_id is not that of manifest"
    refused(reader, mixed, tmp_path / "out", line)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "mixed", [("parts.jsonl", "years.parquet", "agents.parquet")], indirect=True
)
def test_tables_of_another_run(mixed, tmp_path, reader):
    line = "cannot be repaired" if reader == "repair" else "parts.jsonl: another run's"
    refused(reader, mixed, tmp_path / "out", line)
    with pytest.raises(DiskError, match=r"parts\.jsonl: another run's"):
        je.load(mixed).years  # noqa: B018


@pytest.mark.parametrize("reader", [reader for reader in READERS if reader != "digest"])
def test_a_transcript_of_another_run(asking, tmp_path, reader):
    """Of the same configuration and with as many requests."""
    folder = shutil.copytree(asking[0], tmp_path / "run")
    shutil.copy(asking[1].with_name("b") / "transcript.sqlite", folder)
    for left in folder.glob("transcript.sqlite-*"):
        left.unlink()
    if reader == "repair":
        (folder / "years.parquet" / "part-00000000.parquet").unlink()
    refused(reader, folder, tmp_path / "out", r"transcript\.sqlite: another run's")
    with pytest.raises(DiskError, match="another run's"):
        open_transcript(folder / "transcript.sqlite")
    shutil.copy(folder / "transcript.sqlite", tmp_path)
    with closing(open_transcript(tmp_path / "transcript.sqlite")) as alone:
        assert alone.counts().requests


def test_runs_that_were_begun_without_an_id_go_on(asking, tmp_path):
    """And their files may be put into one another, as before."""
    folder = shutil.copytree(asking[0], tmp_path / "run")
    without_run_id(folder)
    run = je.resume(folder)
    assert run.manifest["status"] == "complete"
    assert "run_id" not in (folder / "parts.jsonl").read_text()
    assert je.digest(folder) == je.digest(asking[0].with_name("a"))


@pytest.mark.parametrize("stray", ["file", "folder", "junk"])
def test_names_alone_are_no_checkpoints(runs, tmp_path, stray):
    folder = shutil.copytree(runs[0], tmp_path / "run")
    path = folder / "checkpoints" / "00000005-000000"
    if stray == "file":
        path.touch()
    else:
        path.mkdir()
    if stray == "junk":
        (path / ".DS_Store").touch()
    assert je.load(folder).years.equals(je.load(runs[0]).years)
    assert je.digest(folder) == je.digest(runs[0])
    assert je.resume(folder).manifest["status"] == "complete"
    assert je.load(je.resume(folder, overrides=["years=4"]).path).last_year == 3


@pytest.mark.parametrize("identities", [None, {}])
def test_a_manifest_without_the_identities_of_its_models(asking, tmp_path, identities):
    folder = shutil.copytree(asking[0], tmp_path / "run")
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"identities": identities}))
    for reader in ("resume", "branch", "replay", "repair"):
        with pytest.raises(DiskError, match=r"manifest.json: damaged \(identities is "):
            READERS[reader](folder, tmp_path / "out")
