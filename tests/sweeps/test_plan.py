"""Which points make which chunk, and how large chunks are."""

import json

import jax
import numpy as np
import pytest
from support.sweeps import DESIGN, EXPONENT, NoMemory, RecordingListener, assert_same, swept

from jaxecon.config.read import load_config
from jaxecon.core.errors import UserError
from jaxecon.economy.build import skill_nodes
from jaxecon.simulation import batch
from jaxecon.sweeps import chunk_size
from jaxecon.sweeps.batch_points import group_points
from jaxecon.sweeps.design import read
from jaxecon.sweeps.plan import make_plan
from jaxecon.sweeps.points import Points
from jaxecon.sweeps.rows import STATISTICS
from jaxecon.sweeps.sweep import _new_plan


def test_chunks_of_a_form_are_one_program(tmp_path):
    """Also the last one, which is not full."""
    jax.clear_caches()
    swept(tmp_path / "a", DESIGN | {"grid": {"budget.public_spending": [0.0, 10.0]}})
    assert batch.simulate_batch._cache_size() == 1
    plan = json.loads((tmp_path / "a" / "plan.json").read_text())
    assert [(len(c["points"]), c["lanes"]) for c in plan["chunks"]] == [(3, 3), (3, 3), (2, 3)]


def test_other_forms_are_other_chunks(tmp_path):
    design = DESIGN | {
        "grid": {"schedule.brackets": ["flat", "three"], "years": [1, 2]},
        "seeds": 2,
    }
    plan = make_plan(Points(read(design)), 8)
    assert [c.points for c in plan.chunks] == [(0, 1), (2, 3), (4, 5), (6, 7)]
    assert plan.brackets == 3


def test_many_programs_are_told_of_with_the_settings_that_make_them(tmp_path):
    """Here 17 lengths of a year, two of which run; a number in an array makes no program."""
    design = DESIGN | {"grid": {"year.days": list(range(2, 19)), EXPONENT: [3.0, 3.5]}, "seeds": 1}
    points, listener = Points(read(design)), RecordingListener()
    _new_plan(points, 8, listener)
    assert listener.notes == [
        "17 programs to compile, ten seconds and more each: each value of year.days makes another"
    ]
    sample = {
        "points": 40,
        "settings": {
            "year.days": {"low": 2, "high": 30},
            EXPONENT: {"low": 3.0, "high": 4.0},
            "years": [1, 2],
        },
    }
    points, listener = Points(read({"run": DESIGN["run"], "random": sample})), RecordingListener()
    _new_plan(points, 8, listener)
    assert listener.notes[0].endswith(
        " programs to compile, ten seconds and more each: each value of year.days, years makes "
        "another"
    )
    few, listener = (
        Points(read(DESIGN | {"grid": {"year.days": list(range(2, 18))}, "seeds": 1})),
        RecordingListener(),
    )
    _new_plan(few, 8, listener)
    assert listener.notes == []


def test_what_no_point_can_be_is_refused_before_anything_is_written(tmp_path):
    for wrong, message in (
        ({"devices": "all"}, "devices: all; a sweep spreads whole runs"),
        ({"years": 0}, "years: 0; a whole"),
    ):
        with pytest.raises(UserError, match=f"{message}.*none of 2 points can be simulated"):
            swept(tmp_path / "a", {"run": DESIGN["run"] | wrong, "seeds": 2})
    assert not (tmp_path / "a").exists()


def test_the_size_of_a_chunk_follows_from_memory(monkeypatch):
    design = read(DESIGN | {"grid": {}, "seeds": 200_000})
    points = Points(design)
    drawn, config = batch.draft(points.config(points[0])), points.config(points[0])
    each = batch.bytes_of(drawn, skill_nodes(config))
    # adaptive values, sums of two cohorts, some of the economy: at least
    held = 6 * (11 + 3 * 2 + 8) * 4
    assert held < each < 40 * held
    monkeypatch.setattr(chunk_size, "_free_memory", lambda devices: 1000 * each)
    # a half, and three times what a run holds
    assert chunk_size.default_chunk_size(drawn, config) == 166
    monkeypatch.setattr(chunk_size, "_free_memory", lambda devices: 1)
    assert chunk_size.default_chunk_size(drawn, config) == 1
    monkeypatch.undo()
    assert chunk_size.default_chunk_size(drawn, config) == (1 << 20) // 12
    monkeypatch.setitem(chunk_size.AGENT_DAYS_A_CHUNK, "cpu", 12 * 18 * 5000)
    assert chunk_size.default_chunk_size(drawn, config) == 5000
    monkeypatch.setitem(chunk_size.AGENT_DAYS_A_CHUNK, "cpu", 1)
    assert chunk_size.default_chunk_size(drawn, config) == (1 << 15) // 12


def test_runs_that_return_much_are_fewer_at_a_time():
    one, many = (load_config(DESIGN["run"], [f"years={years}"]) for years in (1, 10_000))
    nodes = skill_nodes(one)
    grown = batch.bytes_of(batch.draft(many), nodes) - batch.bytes_of(batch.draft(one), nodes)
    assert grown == 9_999 * (len(STATISTICS) + 3) * 4


@pytest.mark.parametrize(
    "seeds",
    [
        [{"seed": 0}, {"seed": 1}],
        [{"seed": 0, "draw_seed": 3}, {"seed": 1, "draw_seed": 3}, {"seed": 1, "draw_seed": 5}],
    ],
)
@pytest.mark.parametrize("planner", ["flat", "in_context"])
def test_points_share_only_what_their_seeds_leave_alone(planner, seeds):
    """The case of each is what it would be made of alone: also where a schedule follows from the
    people.
    """
    points = Points(read({"run": DESIGN["run"] | {"planner": {"kind": planner}}, "list": seeds}))
    groups, failed = group_points(list(points), points)
    assert not failed
    assert [index for group in groups for index in group.indices] == list(range(len(seeds)))
    assert len(groups) == (len(seeds) if planner == "flat" else 1)
    counts = [len(group.indices) for group in groups]
    together = batch.stacked(
        [group.case for group in groups], counts, [pair for group in groups for pair in group.seeds]
    )
    alone = jax.tree.map(
        lambda *leaves: np.stack(leaves), *(batch.case(points.config(point)) for point in points)
    )
    for ours, theirs in zip(*map(jax.tree.leaves, (together, alone)), strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype
    # of the two populations
    assert len(np.unique(alone.rates, axis=0)) == (2 if planner == "flat" else 1)


def test_a_chunk_that_does_not_fit_is_halved(whole, tmp_path, monkeypatch):
    simulate_batch = batch.simulate_batch

    def small(cases, nodes, mesh):
        if len(cases.rates) > 3:
            raise NoMemory("RESOURCE_EXHAUSTED: Out of memory allocating 4294967296 bytes.")
        return simulate_batch(cases, nodes, mesh)

    monkeypatch.setattr(batch, "simulate_batch", small)
    listener = RecordingListener()
    found = swept(tmp_path / "a", chunk_size=6, listener=listener)
    assert listener.halves == [(6, 3)]  # and so are all others of its form
    assert_same(found, whole)
    plan = json.loads((tmp_path / "a" / "plan.json").read_text())
    assert sorted(i for chunk in plan["chunks"] for i in chunk["points"]) == list(range(12))
    assert [c["lanes"] for c in plan["chunks"] if c["kind"] == "batch"] == [3, 3, 3]


def test_a_point_that_never_fits_fails(tmp_path, monkeypatch):
    def never(cases, nodes, mesh):
        raise NoMemory("RESOURCE_EXHAUSTED: Out of memory")

    monkeypatch.setattr(batch, "simulate_batch", never)
    found = swept(tmp_path / "a", DESIGN | {"grid": {}, "seeds": 3})
    assert found.manifest["failed"] == 3
    assert set(found.points["error"].to_pylist()) == {"out of memory: lower the cohorts' sizes"}
