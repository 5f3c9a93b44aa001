"""Small runs, and what tests do to them: interrupt, kill, compare."""

import contextlib
import json
import random
import shutil
import sqlite3
from pathlib import Path

import pytest

import jaxecon as je
from jaxecon.core.errors import Interrupted
from jaxecon.core.files import sha256_of
from jaxecon.simulation.ports import SilentListener
from jaxecon.storage import provenance
from jaxecon.storage.digest import digest

MECHANICAL = {
    "years": 3,
    "year": {"days": 6},
    "population": {"mechanical": 30, "llm": 0},
    "planner": {"compared_with": ["us_federal"]},
    "checkpoint": {"every_days": 4, "every_minutes": None, "keep_last": 100},
}
HYBRID = {
    **MECHANICAL,
    "population": {"mechanical": 20, "llm": 3},
    "llm": {"engine": "simulated"},
    "satisfaction": {"judged": True, "every_days": 3},
}
ONE_DAY_YEARS = {
    "year": {"days": 1},
    "planner": {"compared_with": ["us_federal"]},
    "schedule": {"brackets": "three"},
    "population": {"mechanical": 20, "llm": 0},
    "checkpoint": {"every_years": 1, "every_minutes": None, "keep_last": 100},
}


@contextlib.contextmanager
def without_git():
    """Runs without the revision of the code, where it is not tested: git takes long to tell it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(provenance, "_git_revision", lambda: None)
        yield


class At(SilentListener):
    """Calls something after a day or a year."""

    def __init__(self, what, *, year, day=None):
        self.what, self.year, self.day = what, year, day

    def on_days(self, year, days_done, day, usage):
        if (year, days_done) == (self.year, self.day):
            self.what()

    def on_year(self, row, usage):
        if self.day is None and row["year"] == self.year:
            self.what()


def interrupt():
    raise Interrupted(15)


def run_killed(config, out, *, year, day=None, **options):
    """What a run killed at that moment leaves: its folder is copied while it runs."""
    copy = out.with_name(out.name + "-killed")
    listener = At(lambda: copied(out, copy), year=year, day=day)
    je.run(config, out=out, listener=listener, **options)
    return copy


def copied(folder, copy):
    """While a thread still writes a checkpoint, whose files get other names: what is missed was not
    finished.
    """
    with contextlib.suppress(shutil.Error):
        shutil.copytree(folder, copy)


def decisions(path):
    if not (path / "transcript.sqlite").exists():
        return []
    from llm.transcript.store import Transcript

    transcript = Transcript(path / "transcript.sqlite", read_only=True)
    found = list(transcript.decisions())
    transcript.close()
    return found


def assert_same_run(one, other):
    assert digest(Path(one)) == digest(Path(other))
    assert decisions(Path(one)) == decisions(Path(other))
    tables = [je.load(path).years.drop_columns(["seconds"]) for path in (one, other)]
    assert tables[0].equals(tables[1])
    assert je.load(one).agents.equals(je.load(other).agents)


def flighty():
    """Answers at random, now and then uselessly: what is asked twice is answered otherwise."""
    from llm.engines.scripted import ScriptedEngine
    from llm.messages import Completion, Usage

    rng = random.Random()

    def reply(request):
        answers = {
            "labor": {"hours": rng.randrange(0, 101, 10)},
            "satisfaction": {"satisfied": rng.random() < 0.5},
            "plan": {"changes": [rng.choice([-10, 0, 10]) for _ in range(7)]},
        }
        useless = request.draw.attempt == 0 and request.draw.agent == 0
        return Completion(
            "nothing" if useless else json.dumps(answers[request.draw.kind]), usage=Usage(100, 0, 5)
        )

    return ScriptedEngine(reply)


def snapshot(path):
    return {
        p: p.read_bytes()
        for p in path.rglob("*")
        if p.is_file() and p.name != ".lock" and ".unfinished" not in str(p)
    }


def unchanged_by_reading(folder):
    """All files but those with which SQLite reads a transcript."""
    return {
        path: content
        for path, content in snapshot(folder).items()
        if not path.name.endswith(("-shm", "-wal"))
    }


def as_earlier_run(folder):
    """Make a run's folder what an earlier version left: without a list of the tables' files."""
    (folder / "parts.jsonl").unlink()
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["parts"]
    (folder / "manifest.json").write_text(json.dumps(manifest))


def without_run_id(folder):
    """Make a run's folder what it was before runs had an id."""
    for path in (folder / "manifest.json", *(folder / "checkpoints").glob("0*-*/checkpoint.json")):
        content = json.loads(path.read_text())
        del content["run_id"]
        path.write_text(json.dumps(content))
    lines = [json.loads(line) for line in (folder / "parts.jsonl").read_text().splitlines()]
    for line in lines:
        del line["run_id"]
    (folder / "parts.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    for path in (folder / "checkpoints").glob("0*-*"):
        names = [line.split("  ")[1] for line in (path / "SHA256SUMS").read_text().splitlines()]
        sums = "".join(f"{sha256_of(path / name)}  {name}\n" for name in names)
        (path / "SHA256SUMS").write_text(sums)
    with contextlib.closing(sqlite3.connect(folder / "transcript.sqlite")) as transcript:
        transcript.execute("DROP TABLE run")
