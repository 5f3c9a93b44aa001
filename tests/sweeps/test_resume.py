"""Sweeps that are interrupted and continued, and the folders that they refuse."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest
import yaml
from support.sweeps import (
    DESIGN,
    RecordingListener,
    assert_same,
    sweep_command,
    swept,
)

import jaxecon as je
from jaxecon.core.errors import Interrupted, UserError
from jaxecon.core.files import write_atomically
from jaxecon.core.locks import lock_for_writing
from jaxecon.sweeps.design import read
from jaxecon.sweeps.folder import _outside_files, write_part
from jaxecon.sweeps.points import Points
from jaxecon.sweeps.results import Sweep
from jaxecon.sweeps.sweep import sweep

sweep_module = sys.modules[sweep.__module__]  # `jaxecon.sweeps.sweep` is also the function's name


@pytest.mark.parametrize("after", [1, 3])
def test_an_interrupted_sweep_goes_on(whole, tmp_path, after):
    first = RecordingListener(stop_after=after)
    with pytest.raises(KeyboardInterrupt):
        swept(tmp_path / "a", listener=first)
    assert Sweep(tmp_path / "a").manifest["status"] == "running"
    second = RecordingListener()
    # the chunks are those of the plan
    found = swept(tmp_path / "a", listener=second, chunk_size=None)
    assert second.began == (12, sum(points for points, _ in first.chunks))
    assert sum(points for points, _ in first.chunks + second.chunks) == 12
    assert_same(found, whole)


def test_parts_that_belong_to_no_finished_chunk_do_not_count(whole, tmp_path):
    folder = shutil.copytree(whole.path, tmp_path / "a")
    (folder / "points.parquet" / "part-00000001.parquet").unlink()  # killed between the two
    manifest = json.loads((folder / "manifest.json").read_text()) | {"status": "running"}
    del manifest["points"], manifest["failed"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    shutil.copy(
        folder / "years.parquet" / "part-00000000.parquet",
        folder / "years.parquet" / "part-00000077.parquet",
    )
    assert set(Sweep(folder).years["point"].to_pylist()) < set(whole.years["point"].to_pylist())
    assert_same(swept(folder), whole)
    assert pq.read_table(folder / "years.parquet").num_rows == whole.years.num_rows


@pytest.mark.parametrize(
    "left",
    [[], ["manifest.json"], ["manifest.json", "plan.json", "points.parquet"]],
    ids=["lock", "manifest", "plan"],
)
def test_a_sweep_killed_while_it_began(whole, tmp_path, left):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ".lock").touch()
    for name in left:
        if name == "points.parquet":
            (tmp_path / "a" / name).mkdir()
        else:
            shutil.copy(whole.path / name, tmp_path / "a" / name)
    assert_same(swept(tmp_path / "a"), whole)


def test_a_damaged_plan_is_one_line(whole, tmp_path):
    folder = shutil.copytree(whole.path, tmp_path / "a")
    (folder / "plan.json").write_text('{"brackets": 3, "chu')
    with pytest.raises(UserError, match=r"plan.json: damaged .*; give a new folder"):
        swept(folder)


def test_a_finished_sweep_has_nothing_to_do(whole, tmp_path):
    listener = RecordingListener()
    assert_same(swept(whole.path, listener=listener), whole)
    assert listener.chunks == []


def test_killed_and_started_again(whole, tmp_path):
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(DESIGN, sort_keys=False))
    out = tmp_path / "out"
    process = subprocess.Popen(
        sweep_command(tmp_path / "sweep.yaml", out),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 300
    while not list((out / "points.parquet").glob("part-*.parquet")) and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    again = subprocess.run(
        sweep_command(tmp_path / "sweep.yaml", out), capture_output=True, text=True
    )
    assert again.returncode == 1, again.stderr  # four points fail
    assert "8 of 12 points simulated, 4 failed" in again.stdout
    assert "FAILED: point 4 and 3 more: preferences.disutility_exponent: 0.5" in again.stdout
    assert_same(Sweep(out), whole)


@pytest.mark.parametrize("named", [False, True])
def test_an_interruption_says_how_to_go_on(tmp_path, monkeypatch, capsys, named):
    """Without --out the folder's name is the time, which the same command would not find again."""
    from jaxecon.cli.app import app

    def interrupted(config, out, **more):
        raise Interrupted(signal.SIGTERM) if named else KeyboardInterrupt

    arguments = ["sweep", "my sweep.yaml", *(["--out", "runs/a"] if named else [])]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweep_module, "sweep", interrupted)
    monkeypatch.setattr(sys, "argv", ["jaxecon", *arguments])
    with pytest.raises(SystemExit) as ended:
        app(arguments)
    assert ended.value.code == (143 if named else 130)
    folder = "runs/a" if named else r"runs/\d{8}-\d{6}"
    assert re.fullmatch(
        f"jaxecon: interrupted; continue with: jaxecon sweep 'my sweep.yaml' --out {folder}\n",
        capsys.readouterr().err,
    )


def test_a_full_disk_keeps_what_is_finished(whole, tmp_path, monkeypatch):
    write = write_part

    def full(folder, chunk, table):
        if chunk.number == 1:
            raise OSError(28, "No space left on device")
        write(folder, chunk, table)

    monkeypatch.setattr(sweep_module, "write_part", full)
    with pytest.raises(
        UserError, match=r"cannot be written \(No space left on device\); finished chunks are kept"
    ):
        swept(tmp_path / "a")
    monkeypatch.undo()
    listener = RecordingListener()
    assert_same(swept(tmp_path / "a", listener=listener), whole)
    assert listener.began[1] > 0


def test_the_folder_of_something_else(whole, tmp_path):
    with pytest.raises(UserError, match="holds another sweep; give a new folder"):
        swept(whole.path, DESIGN | {"seeds": 5})
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "manifest.json").write_text("{}")
    with pytest.raises(UserError, match="already holds a run"):
        swept(tmp_path / "run")
    with pytest.raises(UserError, match="holds no sweep"):
        Sweep(tmp_path / "run")
    with pytest.raises(UserError, match="holds a sweep, not a run"):
        je.load(whole.path)


def test_two_processes_on_one_sweep(whole):
    release = lock_for_writing(whole.path / ".lock", "x")
    with pytest.raises(UserError, match="is being written by another process"):
        swept(whole.path)
    release()


def test_another_jaxecon_is_refused_unless_forced(whole, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        swept(tmp_path / "a", listener=RecordingListener(stop_after=1))
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    manifest["code"] = "0" * 64
    manifest["versions"]["jax"] = "0.0.1"
    write_atomically(tmp_path / "a" / "manifest.json", json.dumps(manifest).encode())
    with pytest.raises(UserError, match=r"jaxecon's code: 000000000000 -> .*--force continues"):
        swept(tmp_path / "a")
    listener = RecordingListener()
    swept(tmp_path / "a", force=True, listener=listener)
    assert any("jaxecon's code" in line for line in listener.notes)
    assert any("jax: 0.0.1 ->" in line for line in listener.notes)


def test_another_rule_of_the_same_name_is_refused_unless_forced(tmp_path, monkeypatch):
    source = "from jaxecon.workers import Rational\nclass Mine(Rational):\n    pass\n"
    (tmp_path / "swept_rule.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    cohort = {"name": "a", "rule": "fixed", "size": 4}
    run = {
        "years": 1,
        "year": {"days": 1},
        "planner": {"kind": "fixed"},
        "population": {"cohorts": [cohort]},
    }
    design = {"run": run, "grid": {"population.cohorts.0.rule": ["fixed", "swept_rule:Mine"]}}
    files = swept(tmp_path / "a", design).manifest["files"]
    assert files == {"swept_rule:Mine": hashlib.sha256(source.encode()).hexdigest()}
    (tmp_path / "swept_rule.py").write_text(source + "# and more\n")
    with pytest.raises(
        UserError, match="not what the sweep began with: the content of swept_rule:Mine; --force"
    ):
        swept(tmp_path / "a", design)
    assert swept(tmp_path / "a", design, force=True).points["status"].to_pylist() == ["ok", "ok"]
    shared = run | {"population": {"cohorts": [cohort | {"rule": "swept_rule:Mine"}]}}
    whole_lists = {"population.cohorts": [[cohort], [cohort | {"rule": "swept_rule:Mine"}]]}
    for other in ({"run": shared, "seeds": 2}, {"run": run, "grid": whole_lists}):
        assert list(_outside_files(Points(read(other)))) == ["swept_rule:Mine"]


def test_two_framings_are_swept_and_their_words_may_not_change(tmp_path):
    words = tmp_path / "words"
    words.mkdir()
    person = words / "person.jinja"
    person.write_text("You are proud of earning {{ skill|whole }}.\n")
    run = {
        "years": 1,
        "year": {"days": 2},
        "population": {"mechanical": 4, "llm": 2},
        "llm": {"engine": "simulated"},
    }
    design = {"run": run, "grid": {"llm.prompts": [None, str(words)]}}
    first = swept(tmp_path / "a", design)
    assert first.points["status"].to_pylist() == ["ok", "ok"]
    assert list(first.manifest["files"]) == ["../words/person.jinja"]
    proud = [je.load(path).manifest["prompts"] for path in sorted((tmp_path / "a/runs").iterdir())]
    assert len(set(proud)) == 2
    person.write_text("You earn {{ skill|whole }}.\n")
    with pytest.raises(UserError, match=r"the content of \.\./words/person\.jinja; --force"):
        swept(tmp_path / "a", design)
    person.write_text("You earn {{ wage|whole }}.\n")
    with pytest.raises(UserError, match="line 1: 'wage' is unknown"):  # before the first point
        swept(tmp_path / "b", design)
    assert not (tmp_path / "b").exists()


def test_too_many_points_are_refused_with_their_number(tmp_path):
    design = {
        "grid": {"years": list(range(1, 1001)), "year.days": list(range(1, 1001))},
        "seeds": 1000,
    }
    with pytest.raises(
        UserError,
        match="1,000,000,000 points; more than 1,000,000: --max-points 1000000000 if they are "
        "meant",
    ):
        swept(tmp_path / "a", design)
    assert not (tmp_path / "a").exists()


def test_mistakes_on_the_command_line(whole, tmp_path):
    (tmp_path / "bad.yaml").write_text("grid: {preferences.exponent: [1]}\n")

    def command(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "jaxecon", "sweep", *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        assert done.returncode == 2, done.stderr
        assert len(done.stderr.splitlines()) == 1
        return done.stderr

    assert "preferences.exponent: no such setting" in command("bad.yaml")
    assert "CONFIG" in command()
    assert not list(tmp_path.glob("runs/*"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="--out"):
        swept(tmp_path / "a")


def test_forced_sweeps_force_their_runs(tmp_path, lm):
    swept(tmp_path / "a", lm)
    for manifest in tmp_path.glob("a/**/manifest.json"):
        write_atomically(
            manifest, json.dumps(json.loads(manifest.read_text()) | {"code": "0" * 64}).encode()
        )
    (tmp_path / "a" / "points.parquet" / "part-00000001.parquet").unlink()
    with pytest.raises(UserError, match="jaxecon's code"):
        swept(tmp_path / "a", lm)
    assert swept(tmp_path / "a", lm, force=True).points["status"].to_pylist() == ["ok", "ok"]
