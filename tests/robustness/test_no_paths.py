"""What a run leaves on disk can be published: it names no place of its author's machine."""

import getpass
import json
import shutil
import socket
import sqlite3
import sys
import zlib
from pathlib import Path

import pytest
from support.runs import At, snapshot

import jaxecon as je
from experiments.suite.checks import open_folder
from experiments.suite.report import write_json
from jaxecon.config.yaml_text import yaml_text, yaml_value
from jaxecon.core.errors import UserError
from jaxecon.storage import provenance
from jaxecon.storage.portable import (
    is_same_yaml,
    located_configuration,
    path_at,
    path_from,
    portable_configuration,
    portable_text,
    portable_yaml,
)
from jaxecon.storage.recorder import _portable


class Broken(Exception):
    pass


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A run, its branch and replay, and a sweep, of microdata and templates beside them."""
    folder = tmp_path_factory.mktemp("published")
    (folder / "people.csv").write_text("skill\n500\n1000\n2000\n")
    (folder / "words").mkdir()
    (folder / "words" / "person.jinja").write_text("You earn {{ skill|whole }}.\n")
    config = {
        "years": 2,
        "year": {"days": 2},
        "population": {
            "mechanical": 4,
            "llm": 2,
            "skills": "file",
            "file": str(folder / "people.csv"),
        },
        "llm": {"engine": "simulated", "prompts": str(folder / "words")},
        "planner": {"kind": "fixed", "compared_with": ["us_federal"]},
        "checkpoint": {"every_years": 1, "every_minutes": None},
    }
    with pytest.MonkeyPatch.context() as patch:
        command = ["/opt/bin/jaxecon", "run", str(folder / "own.yaml"), "--out", str(folder)]
        patch.setattr(sys, "argv", command)

        def fail():
            raise Broken(f"{folder / 'run' / 'somewhere'}: {folder / 'people.csv'} is broken")

        with pytest.raises(Broken):
            je.run(config, out=folder / "run", listener=At(fail, year=1, day=1))
        failed = (folder / "run" / "manifest.json").read_text()
        je.resume(folder / "run")
        je.branch(folder / "run", year=1, out=folder / "branch")
        je.replay(folder / "run", out=folder / "again")
        replayed = {"engine": "replay", "transcript": str(folder / "run")}
        je.run({**config, "llm": {**config["llm"], **replayed}}, out=folder / "from_transcript")
        people = {"mechanical": 4, "llm": 0, "skills": "file", "file": str(folder / "people.csv")}
        swept = {"run": {"years": 1, "year": {"days": 1}, "population": people}, "seeds": 2}
        for _ in range(2):  # the second time it is found to be the same sweep, and complete
            je.sweep(swept, out=folder / "sweep")
        files = {"population.file": [str(folder / name) for name in ("people.csv", "none.csv")]}
        je.sweep({**swept, "grid": files}, out=folder / "sweep_of_files")
    return folder, failed


def contents(path):
    """Every byte string that a file holds, as it lies there and decompressed."""
    yield path.read_bytes()
    if path.suffix == ".sqlite":
        with sqlite3.connect(path) as db:
            yield "\n".join(db.iterdump()).encode()
            for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'"):
                for row in db.execute(f"SELECT * FROM {table}"):
                    for value in row:
                        if isinstance(value, bytes):
                            yield value
                            try:
                                yield zlib.decompress(value)
                            except zlib.error:
                                continue


def test_no_file_names_a_place_a_user_or_a_host(place):
    folder, failed = place
    private = {str(folder), str(folder.parent), str(Path.home()), "/opt/bin"} - {"/"}
    names = {getpass.getuser(), socket.gethostname()}
    # names so short that they are words of other things, such as the user "root" of a container
    private |= {name for name in names if len(name) > 5}
    for run in ("run", "branch", "again", "from_transcript", "sweep", "sweep_of_files"):
        for path in (folder / run).rglob("*"):
            for text in contents(path) if path.is_file() else ():
                found = [place for place in private if place.encode() in text]
                assert not found, (path, found)
    assert str(folder) not in failed
    assert "./somewhere: ../people.csv is broken" in failed


def test_what_a_sweep_varies_is_named_from_its_folder(place):
    folder, _ = place
    points = je.Sweep(folder / "sweep_of_files").points
    assert points["population.file"].unique().to_pylist() == ["../people.csv", "../none.csv"]
    (error,) = {error for error in points["error"].to_pylist() if error is not None}
    assert "../none.csv" in error


def test_an_experiment_names_none(tmp_path):
    """And is continued in its folder, as the one that it is."""
    out, identity = tmp_path / "out", f"mechanical: {{file: {tmp_path}/people.csv}}\n"
    for _ in range(2):
        open_folder(out, identity)
    assert (out / "experiment.yaml").read_text() == "mechanical: {file: ../people.csv}\n"
    (out / "experiment.yaml").write_text(identity)  # as earlier versions wrote it
    open_folder(out, identity)
    with pytest.raises(UserError, match="holds another experiment"):
        open_folder(out, identity.replace("people", "others"))
    write_json(out / "manifest.json", {"errors": [f"{tmp_path}/people.csv: broken"]})
    assert "../people.csv: broken" in (out / "manifest.json").read_text()
    assert str(tmp_path) not in (out / "manifest.json").read_text()


def test_what_is_needed_to_go_on_is_kept(place, tmp_path):
    """Also when everything is moved together."""
    folder, _ = place
    run = je.load(folder / "run")
    assert run.config.population.file == str(folder / "people.csv")
    assert (run.manifest["configuration"]["population"]["file"]) == "../people.csv"
    assert je.load(folder / "branch").manifest["branched_from"]["run"] == "../run"
    moved = shutil.copytree(folder, tmp_path / "moved")
    assert je.load(moved / "run").config.population.file == str(moved / "people.csv")
    resumed = je.resume(moved / "branch", overrides=["years=3"])
    assert resumed.manifest["resumed"][-1]["inexact"] == []  # its run's answers are found
    assert resumed.years.num_rows == 2


def test_a_configuration_that_is_repaired_names_none(place):
    folder, _ = place
    run = shutil.copytree(folder / "run", folder / "damaged")
    original = (run / "config.yaml").read_bytes()
    for damage in (lambda path: path.write_bytes(b"seed: ["), Path.unlink):
        damage(run / "config.yaml")
        je.repair(run)
        assert (run / "config.yaml").read_bytes() == original


def test_what_a_branch_changed_names_none(tmp_path):
    origin = {"run": "../run", "changed": [f"llm.transcript: None -> {tmp_path / 'other'}"]}
    written = _portable({"branched_from": origin, "files": {}}, tmp_path / "branch")
    assert written["branched_from"]["changed"] == ["llm.transcript: None -> ../other"]


def test_the_same_command_continues_futures_with_relative_paths(place, monkeypatch):
    """They are compared as they are read; the words of templates, not where these lie."""
    folder, _ = place
    shutil.copy(folder / "people.csv", folder / "copy.csv")
    shutil.copytree(folder / "words", folder / "more words")
    (folder / "more words" / "person.jinja").write_text("You earn ${{ skill|whole }}.\n")
    monkeypatch.chdir(folder)

    def begin(*overrides):
        settings = ["years=3", "population.file=copy.csv", *overrides]
        return je.branch("run", year=1, out="futures", overrides=settings, seeds=2)

    first, _ = begin("llm.prompts=more words")
    before = snapshot(folder / "futures")
    begin("llm.prompts=more words")
    assert snapshot(folder / "futures") == before
    with pytest.raises(UserError, match=r"future-0: already holds another run .the prompts: "):
        begin()
    assert snapshot(folder / "futures") == before
    changed = first.manifest["branched_from"]["changed"]
    assert [line.partition(":")[0] for line in changed] == ["years", "the prompts"]
    for path in (folder / "futures").rglob("*.json"):
        assert str(folder) not in path.read_text()


def test_paths_as_earlier_versions_wrote_them_are_read_as_given(place, tmp_path):
    folder, _ = place
    run = shutil.copytree(folder / "run", tmp_path / "run")
    manifest = json.loads((run / "manifest.json").read_text())
    absolute = str(folder / "people.csv")
    manifest["configuration"]["population"]["file"] = absolute
    del manifest["paths"]
    (run / "manifest.json").write_text(json.dumps(manifest))
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("../people.csv", absolute))
    assert je.load(run).config.population.file == absolute
    assert je.replay(run).equal


def test_the_way_to_a_place(tmp_path, monkeypatch):
    home = tmp_path / "home" / "somebody"
    monkeypatch.setenv("HOME", str(home))
    run = tmp_path / "runs" / "r"
    assert path_from(run, tmp_path / "data.csv") == "../../data.csv"
    assert path_from(run, home / "data.csv") == "~/data.csv"
    assert path_from(home / "runs" / "r", home / "data.csv") == "../../data.csv"
    for where in (tmp_path / "data.csv", home / "data.csv", Path("/etc/hosts")):
        assert path_at(run, path_from(run, where)) == where.resolve()
    line = f'{{"error": "{run}/x: {home}/y, {tmp_path}/a b, {run}-2"}}'
    assert portable_text(line, run) == '{"error": "./x: ~/y, ../../a b, ../r-2"}'


NAMES = [
    "zoé",
    "Zoë de la Müller",
    "李雷",
    'a "b"',
    "it's",
    "back\\slash",
    "u1",
    "smile 😀 " + "w " * 60,
]


@pytest.mark.parametrize("name", NAMES)
def test_a_home_with_any_letters_is_named_in_no_form(tmp_path, monkeypatch, name):
    """Neither in a plain text nor in JSON or YAML, which write some letters as escapes."""
    home, out = tmp_path / "home" / name, tmp_path / "out"
    monkeypatch.setenv("HOME", str(home))
    file = f"{home}/people.csv"
    assert portable_text(file, out) == "~/people.csv"
    lines = f"broken:\n{file}\n{home}"
    said = portable_text(str(UserError(lines)), out)  # its line ends are escapes
    assert said == "broken:\\n~/people.csv\\n~"
    others = (f"{home}é/x", f"{home}-2")
    for text in (file, lines, *others):
        for ascii_only in (True, False):
            written = json.dumps({"error": [text]}, ensure_ascii=ascii_only)
            (read,) = json.loads(portable_text(written, out))["error"]
            place, way = (tmp_path, "..") if text in others else (home, "~")
            assert read == text.replace(str(place), way)
    design = {"grid": {"population.file": [file, f"see {file}"]}}
    yaml = portable_yaml(design, out)
    assert yaml_value(yaml) == {"grid": {"population.file": ["~/people.csv", "see ~/people.csv"]}}
    earlier = yaml_text(design)
    assert is_same_yaml(earlier, yaml, out)
    assert not is_same_yaml(earlier.replace("people", "others"), yaml, out)
    assert not is_same_yaml("grid: [", yaml, out)


def test_a_sweep_in_a_home_with_other_letters_names_none(tmp_path, monkeypatch):
    """And one that an earlier version began there is continued."""
    home = tmp_path / "zoé"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    (home / "people.csv").write_text("skill\n500\n1000\n")
    design = {
        "run": {
            "years": 1,
            "year": {"days": 1},
            "population": {"mechanical": 4, "llm": 0, "skills": "file"},
        },
        "grid": {"population.file": [str(home / name) for name in ("people.csv", "none.csv")]},
    }
    out = tmp_path / "sweeps" / "s"
    je.sweep(design, out=out)
    points = je.Sweep(out).points
    assert points["population.file"].unique().to_pylist() == ["~/people.csv", "~/none.csv"]
    (error,) = {error for error in points["error"].to_pylist() if error is not None}
    assert "~/none.csv" in error
    for path in out.rglob("*.*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(form in content for form in ("zoé".encode(), b"zo\\xE9", b"zo\\u00e9"))
    (out / "sweep.yaml").write_text(yaml_text(design))
    before = (out / "points.parquet" / "part-00000000.parquet").read_bytes()
    je.sweep(design, out=out)
    assert (out / "points.parquet" / "part-00000000.parquet").read_bytes() == before
    other = {**design, "seeds": 2}
    with pytest.raises(UserError, match="holds another sweep"):
        je.sweep(other, out=out)


def test_a_local_model_and_every_transcript(tmp_path):
    (tmp_path / "model").mkdir()
    tree = {
        "llm": {
            "engine": "vllm",
            "model": str(tmp_path / "model"),
            "others": {
                "a": {"engine": "replay", "transcript": str(tmp_path / "t")},
                "b": {"engine": "vllm", "model": "org/name"},
            },
        }
    }
    written = portable_configuration(tree, tmp_path)
    assert written["llm"]["model"] == "./model"
    assert written["llm"]["others"]["a"]["transcript"] == "t"
    assert written["llm"]["others"]["b"]["model"] == "org/name"
    assert located_configuration(written, tmp_path) == tree


@pytest.mark.parametrize(
    ("argument", "recorded"),
    [
        ("/somewhere/my own.yaml", "my own.yaml"),
        ("--out=/somewhere/r", "--out=r"),
        ("population.file=/somewhere/d.csv", "population.file=d.csv"),
        ("~/d.csv", "d.csv"),
        ("llm.others={a: {transcript: /x/t.sqlite, model: m}}", None),
        ("llm.base_url=http://localhost:8000/v1", "llm.base_url=http://localhost:8000/v1"),
        ("runs/a", "runs/a"),
        ("llm.prompts=~", "llm.prompts=~"),
        ("schedule.rates=0.4", "schedule.rates=0.4"),
    ],
)
def test_the_command_is_recorded_without_places(monkeypatch, argument, recorded):
    expected = "llm.others={a: {transcript: t.sqlite, model: m}}" if recorded is None else recorded
    monkeypatch.setattr(sys, "argv", ["/opt/bin/jaxecon", "run", argument])
    assert provenance.environment()["command"] == ["jaxecon", "run", expected]
