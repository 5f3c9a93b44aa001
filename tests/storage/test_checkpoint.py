"""Checkpoints as files: whole or not there, verified, kept and dropped as the policy says."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxecon.config.recording import CheckpointPolicy
from jaxecon.core.errors import UserError
from jaxecon.core.pytree import named_leaves
from jaxecon.storage import checkpoint, checkpoint_files
from jaxecon.storage.checkpoint import Checkpoints, _copied, remove_unfinished, write
from jaxecon.storage.checkpoint_files import (
    DamagedCheckpoint,
    Position,
    files_below,
    positions,
    read_leaves,
    restore,
    state_digest,
    verified,
)

FROZEN = Path(__file__).parent / "data" / "checkpoint-format-1"
NEVER = {"every_minutes": None}


def state(scale=1.0):
    return {
        "rules": {"adaptive": scale * jnp.arange(12.0).reshape(3, 4), "quantal": ()},
        "satisfied": jnp.array([True, False, True]),
        "rebate": jnp.float32(1234.5678),
        "memory": {"lived": 7, "mean": 0.1, "squares": np.arange(3) / 3},
        "nothing": None,
    }


def written(folder, position=None, **more):
    position = position or Position(1, 2)
    return write(
        folder,
        position,
        {n: _copied(x) for n, x in named_leaves(state(**more)).items()},
        {"extra": [1]},
    )


def same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert type(x) is type(y)
        np.testing.assert_array_equal(x, y, strict=True)


def test_what_is_written_comes_back(tmp_path):
    written(tmp_path)
    found, damaged = checkpoint_files.newest(tmp_path)
    assert (found.position, damaged) == (Position(1, 2), [])
    back, meta = restore(found, state(scale=0.0))
    same(back, state())
    assert (meta["format"], meta["year"], meta["day"], meta["extra"]) == (2, 1, 2, [1])
    assert sorted(p.name for p in found.path.iterdir()) == [
        "SHA256SUMS",
        "arrays",
        "checkpoint.json",
    ]


def test_sums_are_what_sha256sum_reads(tmp_path):
    path = written(tmp_path)
    checked = subprocess.run(
        ["sha256sum", "-c", "--strict", "SHA256SUMS"], cwd=path, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.count(": OK") == len(files_below(path)) - 1


def test_the_digest_is_of_the_state_and_not_of_its_files(tmp_path, monkeypatch):
    """Which may be cut otherwise."""
    one, other = (written(tmp_path / name, scale=scale) for name, scale in (("a", 1), ("c", 2)))
    monkeypatch.setattr(checkpoint, "FILE_BYTES", 16)
    two = written(tmp_path / "b", scale=1)
    assert len(files_below(two)) > len(files_below(one))
    digests = [state_digest(verified(path)) for path in (one, two, other)]
    assert digests[0] == digests[1] != digests[2]


def damages():
    def truncated(path):
        os.truncate(path, path.stat().st_size // 2)

    def flipped(path):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0x10
        path.write_bytes(data)

    return {
        "truncated": truncated,
        "flipped": flipped,
        "missing": Path.unlink,
        "empty": lambda path: path.write_bytes(b""),
    }


@pytest.mark.parametrize("damage", damages())
def test_damage_to_any_file_is_seen_and_the_one_before_is_used(tmp_path, damage):
    written(tmp_path, Position(1, 0))
    newest = written(tmp_path, Position(2, 0))
    pristine = shutil.copytree(newest, tmp_path / "pristine")
    files = [
        name
        for name in files_below(pristine)
        if damage != "empty" or (pristine / name).stat().st_size
    ]
    for name in files:
        if damage in ("truncated", "flipped") and (pristine / name).stat().st_size == 0:
            continue
        damages()[damage](newest / name)
        found, problems = checkpoint_files.newest(tmp_path)
        assert found.position == Position(1, 0), name
        assert len(problems) == 1
        assert str(newest) in problems[0]
        assert "\n" not in problems[0]
        shutil.rmtree(newest)
        shutil.copytree(pristine, newest)
    assert checkpoint_files.newest(tmp_path)[0].position == Position(2, 0)


def test_a_file_that_does_not_belong_there(tmp_path):
    path = written(tmp_path)
    (path / "arrays" / "more").write_text("x")
    with pytest.raises(DamagedCheckpoint, match="arrays/more is not one of its files"):
        verified(path)


def test_half_written_folders_are_no_checkpoints(tmp_path):
    written(tmp_path, Position(1, 0))
    shutil.copytree(tmp_path / "00000001-000000", tmp_path / ".unfinished-abc")
    (tmp_path / "00000009-000000").mkdir()  # as a foreign tool would leave it
    (tmp_path / "notes").mkdir()
    found, problems = checkpoint_files.newest(tmp_path)
    assert found.position == Position(1, 0)
    assert problems == []
    (tmp_path / "00000009-000000" / "arrays").mkdir()  # what may be left of a checkpoint
    _, problems = checkpoint_files.newest(tmp_path)
    assert problems == [f"{tmp_path / '00000009-000000'}: SHA256SUMS is missing"]
    remove_unfinished(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "00000001-000000",
        "00000009-000000",
        "notes",
    ]


def test_another_form_is_refused(tmp_path):
    written(tmp_path)
    found, _ = checkpoint_files.newest(tmp_path)
    for wrong, message in (
        (
            {**state(), "rebate": jnp.zeros(2)},
            r"rebate is float32 \[\], this configuration needs float32 \[2\]",
        ),
        (
            {**state(), "rebate": jnp.int32(1)},
            r"rebate is float32 \[\], this configuration needs int32 \[\]",
        ),
        ({**state(), "more": jnp.zeros(2)}, "more is missing: the state of another configuration"),
        (
            {k: v for k, v in state().items() if k != "rebate"},
            "rebate is not known: the state of another configuration",
        ),
    ):
        with pytest.raises(UserError, match=message):
            restore(found, wrong)


def test_a_newer_format_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT", 99)
    path = written(tmp_path)
    monkeypatch.undo()
    with pytest.raises(
        UserError, match="format 99; this jaxecon reads up to 2; install a newer jaxecon"
    ):
        verified(path)


def test_an_older_format_is_migrated(tmp_path, monkeypatch):
    written(tmp_path)
    monkeypatch.setattr(checkpoint_files, "FORMAT", 4)

    def renamed(leaves, meta):
        leaves["pool.rebate"] = leaves.pop("rebate")
        return leaves, meta

    def doubled(leaves, meta):
        leaves["rules.adaptive"] = 2 * leaves["rules.adaptive"]
        return leaves, {**meta, "doubled": True}

    monkeypatch.setattr(checkpoint_files, "MIGRATIONS", {2: renamed, 3: doubled})
    like = state()
    like["pool"] = {"rebate": like.pop("rebate")}
    back, meta = restore(checkpoint_files.newest(tmp_path)[0], like)
    expected = state(scale=2.0)
    expected["pool"] = {"rebate": expected.pop("rebate")}
    same(back, expected)
    assert meta["doubled"]
    assert meta["format"] == 4


def test_the_frozen_checkpoint_of_format_1():
    """Written by the first release of this format (tests/storage/data/make_checkpoint.py); it must
    always be readable.
    """
    found = verified(FROZEN / "00000001-000002")
    back, _ = restore(found, state(scale=0.0))
    same(back, state())
    assert state_digest(found) == "3064d0bf62a7a504b30fd0c8198d91c91ba1a707efebc157fa611ac2ddfdea61"


def test_sharded_arrays(tmp_path):
    """Saved from eight devices, restored to eight, two and one: the same numbers, where they are
    wanted.
    """
    code = textwrap.dedent("""
        import sys
        from pathlib import Path
        import jax, jax.numpy as jnp, numpy as np
        from jax.sharding import Mesh, NamedSharding, PartitionSpec
        from jaxecon.storage.checkpoint import _copied, write
        from jaxecon.core.pytree import named_leaves
        from jaxecon.storage.checkpoint_files import Position, newest, restore
        folder = Path(sys.argv[1])
        value = np.arange(64.0, dtype=np.float32).reshape(16, 4)
        def spread(n):
            mesh = Mesh(np.array(jax.devices()[:n]), ("agents",))
            return NamedSharding(mesh, PartitionSpec("agents"))
        state = {"hours": jax.device_put(value, spread(8)), "rebate": jnp.float32(3)}
        leaves = {n: _copied(x) for n, x in named_leaves(state).items()}
        write(folder, Position(0, 1), leaves, {})
        found = newest(folder)[0]
        for n in (8, 2, 1):
            hours = jax.ShapeDtypeStruct((16, 4), np.float32, sharding=spread(n))
            back, _ = restore(found, {"hours": hours, "rebate": jnp.float32(0)})
            assert back["hours"].sharding.is_equivalent_to(spread(n), 2), back["hours"].sharding
            np.testing.assert_array_equal(back["hours"], value)
        print("fine")
    """)
    env = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
    }
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, env=env
    )
    assert done.stdout == "fine\n", done.stderr


# --- the thread that writes -----------------------------------------------------------------------


def saved(folder, policy, *at, durable=None, protected=None):
    checkpoints = Checkpoints(
        folder, CheckpointPolicy(**{**NEVER, **policy}), protected=protected, durable=durable
    )
    for position in at:
        checkpoints.save(position, state(), {})
    checkpoints.wait()
    checkpoints.close()
    return [(p.year, p.day) for p in positions(folder)]


def test_the_newest_are_kept_and_those_asked_for(tmp_path):
    at = [Position(year, day) for year in range(1, 7) for day in (0, 5)]
    assert saved(tmp_path / "a", {"keep_last": 3}, *at) == [(5, 5), (6, 0), (6, 5)]
    kept = saved(tmp_path / "b", {"keep_last": 1, "keep_every_years": 2}, *at)
    assert kept == [(2, 0), (4, 0), (6, 0), (6, 5)]
    assert saved(tmp_path / "c", {"keep_last": 1}, *at, protected=Position(3, 0)) == [
        (3, 0),
        (6, 5),
    ]


def test_a_position_written_again_replaces_what_was_there(tmp_path):
    (tmp_path / "00000001-000000").mkdir(parents=True)  # damaged
    assert saved(tmp_path, {}, Position(1, 0)) == [(1, 0)]
    assert checkpoint_files.newest(tmp_path) == (verified(tmp_path / "00000001-000000"), [])


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"every_years": 2}, [(2, 0)]),
        ({"every_days": 7}, [(0, 7), (1, 4), (2, 1), (2, 8)]),
        (
            {"every_minutes": 0},
            [(0, d) for d in range(1, 10)]
            + [(1, d) for d in range(10)]
            + [(2, d) for d in range(10)],
        ),
        # the first year's end, until there is one (here nothing is saved)
        ({"every_minutes": 1000}, [(1, 0), (2, 0)]),
        ({}, []),
    ],
)
def test_when_one_is_due(tmp_path, policy, expected):
    checkpoints = Checkpoints(tmp_path, CheckpointPolicy(**{**NEVER, **policy}))
    days = [Position(year, day) for year in range(3) for day in range(10)]
    assert [(p.year, p.day) for p in days if checkpoints.due(p, 10)] == expected
    checkpoints.close()


def test_the_copy_is_of_the_moment(tmp_path):
    """NumPy arrays that change in place and JAX buffers that are given away while the thread
    writes.
    """
    import threading

    gate = threading.Event()
    checkpoints = Checkpoints(
        tmp_path, CheckpointPolicy(**NEVER), durable=lambda: gate.wait() and 5
    )
    numpy, given = np.zeros(1000), jnp.arange(1000.0)
    checkpoints.save(Position(1, 0), {"numpy": numpy, "given": given}, {})
    numpy += 1
    given = jax.jit(lambda x: x + 1, donate_argnums=0)(given)
    gate.set()
    checkpoints.wait()
    checkpoints.close()
    found, _ = checkpoint_files.newest(tmp_path)
    assert found.meta["transcript_requests"] == 5
    back = read_leaves(found)
    np.testing.assert_array_equal(back["numpy"], np.zeros(1000))
    np.testing.assert_array_equal(back["given"], np.arange(1000.0))


def test_a_failure_is_one_line_and_leaves_what_was_there(tmp_path):
    saved(tmp_path, {}, Position(1, 0))
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}

    def full():
        raise OSError(28, "No space left on device")

    checkpoints = Checkpoints(tmp_path, CheckpointPolicy(**NEVER), durable=full)
    checkpoints.save(Position(2, 0), state(), {})
    with pytest.raises(
        UserError,
        match=r"no checkpoint can be written \(No space left on device\); what was written before "
        r"is kept",
    ):
        checkpoints.wait()
    checkpoints.close()
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


@pytest.fixture
def small_disk(tmp_path):
    """A file system of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk(small_disk):
    checkpoints = Checkpoints(small_disk, CheckpointPolicy(keep_last=5, **NEVER))
    checkpoints.save(Position(1, 0), state(), {})
    checkpoints.wait()
    checkpoints.save(
        Position(2, 0), {"big": jax.random.normal(jax.random.key(0), (1_000_000,))}, {}
    )
    with pytest.raises(UserError, match="no checkpoint can be written") as caught:
        checkpoints.wait()
    assert "\n" not in str(caught.value)
    found, damaged = checkpoint_files.newest(small_disk)
    assert (found.position, damaged) == (Position(1, 0), [])
    assert [p.name for p in small_disk.iterdir()] == ["00000001-000000"]  # and there is room again
    checkpoints.save(Position(3, 0), state(), {})
    checkpoints.wait()
    checkpoints.close()
    assert checkpoint_files.newest(small_disk)[0].position == Position(3, 0)


def test_a_read_only_disk(small_disk):
    written(small_disk)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    checkpoints = Checkpoints(small_disk, CheckpointPolicy(**NEVER))
    checkpoints.save(Position(2, 0), state(), {})
    with pytest.raises(UserError, match=r"no checkpoint can be written \(Read-only file system\)"):
        checkpoints.wait()
    checkpoints.close()
    back, _ = restore(checkpoint_files.newest(small_disk)[0], state())
    same(back, state())


def test_positions():
    assert sorted([Position(2, 0), Position(1, 9), Position(1, 10)]) == [
        Position(1, 9),
        Position(1, 10),
        Position(2, 0),
    ]
    assert Position.named(Position(12, 345).name) == Position(12, 345)
    for wrong in ("12-3", "x", "00000001", "00000001-000002-3"):
        with pytest.raises(ValueError, match=r"not enough|invalid literal|^12-3$"):
            Position.named(wrong)


def test_meta_is_json(tmp_path):
    path = written(tmp_path)
    meta = json.loads((path / "checkpoint.json").read_text())
    assert meta["leaves"]["rules.adaptive"] == ["float32", [3, 4]]
    assert meta["leaves"]["memory.squares"] == ["float64", [3]]
