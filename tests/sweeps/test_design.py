"""Which points a sweep has."""

import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxecon.config.read import load_config
from jaxecon.core.errors import UserError
from jaxecon.storage.portable import portable_yaml
from jaxecon.sweeps.design import read, to_tree
from jaxecon.sweeps.points import Points, count

EXPONENT = "preferences.disutility_exponent"


def settings_of(design):
    return [point.settings for point in Points(read(design))]


def test_a_grid_is_every_combination_the_last_setting_fastest():
    found = settings_of(
        {"grid": {EXPONENT: [2, 3], "schedule.brackets": ["flat", [0, 1e5]]}, "seeds": 2}
    )
    assert len(found) == 8
    assert found[0] == {EXPONENT: 2, "schedule.brackets": "flat", "seed": 0}
    assert found[1] == {EXPONENT: 2, "schedule.brackets": "flat", "seed": 1}
    assert found[2] == {EXPONENT: 2, "schedule.brackets": [0, 1e5], "seed": 0}
    assert found[-1] == {EXPONENT: 3, "schedule.brackets": [0, 1e5], "seed": 1}


def test_seeds_begin_at_the_runs():
    assert [s["seed"] for s in settings_of({"run": {"seed": 7}, "seeds": 3})] == [7, 8, 9]


def test_a_list_is_crossed_with_the_grid():
    found = settings_of(
        {
            "list": [{EXPONENT: 2, "year.days": 4}, {EXPONENT: 3, "year.days": 8}],
            "grid": {"years": [1, 2]},
        }
    )
    assert [tuple(s.values()) for s in found] == [(2, 4, 1), (2, 4, 2), (3, 8, 1), (3, 8, 2)]


@given(points=st.integers(1, 40), seed=st.integers(0, 5))
def test_a_latin_hypercube_has_one_point_in_each_slice_of_each_setting(points, seed):
    sample = {
        "points": points,
        "seed": seed,
        "settings": {EXPONENT: {"low": 2.0, "high": 4.0}, "welfare.penalty": [0.25, 0.5]},
    }
    x = np.array([s[EXPONENT] for s in settings_of({"latin_hypercube": sample})])
    assert sorted(np.floor((x - 2) / 2 * points).astype(int)) == list(range(points))


def test_a_latin_hypercube_depends_on_its_seed_alone(monkeypatch):
    """A sweep that goes on draws its points again: not on SciPy, nor on how NumPy permutes."""
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    sample = {
        "points": 4,
        "seed": 3,
        "settings": {EXPONENT: {"low": 2.0, "high": 4.0}, "budget.public_spending": [0, 1, 2, 3]},
    }
    found = settings_of({"latin_hypercube": sample})
    u, order = (
        np.random.Generator(np.random.PCG64(3)).random(16).reshape(2, 4, 2)[k] for k in (0, 1)
    )
    slices = order.argsort(axis=0)
    assert [s[EXPONENT] for s in found] == list(2 + (slices + u)[:, 0] / 4 * 2)
    assert [s["budget.public_spending"] for s in found] == list(slices[:, 1])


@pytest.mark.parametrize("kind", ["random", "latin_hypercube"])
def test_sampled_settings_lie_in_their_ranges(kind):
    settings = {
        "budget.public_spending": {"low": 1.0, "high": 1e4, "scale": "log"},
        "year.days": {"low": 2, "high": 5},
        "schedule.brackets": ["flat", "three"],
    }
    found = settings_of({kind: {"points": 2000, "settings": settings}})
    spending = np.array([s["budget.public_spending"] for s in found])
    assert spending.min() >= 1
    assert spending.max() <= 1e4
    # even on the log scale: on the linear one the median were 5,000
    assert abs(np.median(np.log10(spending)) - 2) < 0.2
    days = [s["year.days"] for s in found]
    assert all(isinstance(d, int) for d in days)
    assert {d: round(days.count(d) / 500) for d in set(days)} == dict.fromkeys((2, 3, 4, 5), 1)
    assert 0.4 < np.mean([s["schedule.brackets"] == "flat" for s in found]) < 0.6
    assert found == settings_of({kind: {"points": 2000, "settings": settings}})
    other = settings_of({kind: {"points": 2000, "seed": 1, "settings": settings}})
    assert found != other


def test_points_are_made_when_they_are_asked_for():
    design = read({"grid": {"years": list(range(1, 1001))}, "seeds": 10**9})
    assert count(design) == 10**12
    assert Points(design)[10**12 - 1].settings == {"years": 1000, "seed": 10**9 - 1}
    with pytest.raises(IndexError):
        Points(design)[10**12]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_counted_without_making_them(sizes):
    names = ["years", "year.days", "population.mechanical", "satisfaction.every_days"]
    design = read(
        {"grid": {name: list(range(1, size + 1)) for name, size in zip(names, sizes, strict=False)}}
    )
    points = Points(design)
    assert count(design) == len(points) == math.prod(sizes)
    assert len({tuple(point.settings.values()) for point in points}) == len(points)


def test_a_point_is_the_configuration_that_set_makes():
    run = {"population": {"mechanical": 10, "llm": 0}, "schedule": {"brackets": "three"}}
    points = Points(
        read(
            {
                "run": run,
                "grid": {"schedule.rates": [0.2, [0.1, 0.2, 0.3]], EXPONENT: [3]},
                "seeds": 2,
            }
        )
    )
    for point in points:
        overrides = [f"{name}={value}" for name, value in point.settings.items()]
        assert points.config(point) == load_config(run, overrides)


def test_a_value_that_is_refused_is_one_points_failure():
    points = Points(read({"grid": {EXPONENT: [3, 0.5], "seed": [0, -1]}}))
    assert points.config(points[0]).preferences.disutility_exponent == 3
    for bad, word in ((1, "seed: -1"), (2, "preferences.disutility_exponent: 0.5"), (3, ": ")):
        with pytest.raises(UserError, match=word):
            points.config(points[bad])


@pytest.mark.parametrize("seeds", [{"draw_seed": [None, 3]}, {"seed": [1.0, 7]}])
def test_seeds_that_are_no_plain_numbers_keep_the_other_settings(seeds):
    points = Points(
        read(
            {"run": {"schedule": {"rates": 0.3}}, "grid": {"planner.max_change": [10, 30], **seeds}}
        )
    )
    for point in points:
        config = points.config(point)
        assert config.planner.max_change == point.settings["planner.max_change"]
        assert config.schedule.rates == 0.3
        assert (config.seed, config.draw_seed) == (
            point.settings.get("seed", 0),
            point.settings.get("draw_seed"),
        )


def test_exponents_are_numbers_in_files_and_options(tmp_path):
    (tmp_path / "a.yaml").write_text("grid: {budget.public_spending: [0, 1e3, 2.5E+3, -.5e1]}\n")
    assert read(tmp_path / "a.yaml").grid["budget.public_spending"] == [0, 1000.0, 2500.0, -5.0]
    assert load_config(None, ["budget.public_spending=1e3"]).budget.public_spending == 1000


def test_a_design_reads_what_it_writes(tmp_path):
    design = read({"run": {"years": 2}, "list": [{"seed": 3}], "grid": {EXPONENT: [2, 2.5]}})
    (tmp_path / "sweep.yaml").write_text(portable_yaml(to_tree(design), tmp_path))
    assert read(tmp_path / "sweep.yaml") == design


def test_set_changes_what_all_points_share():
    design = read(
        {"run": {"years": 2}, "grid": {EXPONENT: [2]}}, ["years=5", "population.mechanical=10"]
    )
    config = Points(design).config(Points(design)[0])
    assert (config.years, config.population.mechanical) == (5, 10)


@pytest.mark.parametrize(
    ("design", "message"),
    [
        ({}, "nothing varies"),
        ({"gird": {}}, "gird: not a part of a sweep; run, list, random"),
        ({"grid": {}}, "nothing varies"),
        ({"grid": {"seed": []}}, "grid.seed: no values"),
        ({"grid": {"seed": 3}}, "grid.seed: 3;"),
        ({"grid": {"preferences.exponent": [1]}}, "preferences.exponent: no such setting"),
        ({"grid": {"preferences.disutility_exponnt": [1]}}, "did you mean 'disutility_exponent'"),
        ({"grid": {"seed.x": [1]}}, "seed.x: no such setting; seed has no parts"),
        ({"grid": {"population.cohorts.0.size": [1]}}, "population.cohorts has no part 0 here"),
        ({"grid": {"seed": [1]}, "seeds": 2}, "seed: varied 2 times"),
        ({"list": [{"seed": 1}, {"years": 2}]}, "list.0: has no years"),
        ({"list": [{}]}, "list: empty"),
        ({"seeds": 0}, "seeds: 0"),
        ({"grid": {"years": [2, 3, 2]}}, "grid.years: 2 is given twice"),
        ({"grid": {"years": [2, 2.0]}}, "grid.years: 2.0 is given twice"),
        (
            {"grid": {"satisfaction.judged": [True, True]}},
            "grid.satisfaction.judged: True is given twice",
        ),
        (
            {"grid": {"satisfaction.judged": [0, False, 1, True, False]}},
            "grid.satisfaction.judged: False is given twice",
        ),
        (
            {"grid": {"schedule": [{"rates": 0.3}]}},
            "schedule: a section; vary its settings, such as schedule.brackets",
        ),
        (
            {"grid": {"population.shares.llm": [0.1], "population.shares": [{"llm": 0.3}]}},
            "varied, and so is all of population.sh",
        ),
        (
            {"grid": {"year": [{"days": 1}]}},
            "year: a section; vary its settings, such as year.days",
        ),
        ({"grid": {"years": [math.nan]}}, "grid.years.0: NaN; a mapping of settings"),
        ({"run": {"yeers": 1}, "seeds": 2}, "yeers: no such setting; did you mean 'years'"),
        ({"run": {"planner": {"memory": {"windw": 1}}}, "seeds": 2}, "did you mean 'window'"),
        ({"run": {"seed": "abc"}, "seeds": 2}, "run.seed: 'abc'; a whole number"),
        ({"run": 5, "seeds": 2}, "run: 5; a mapping of settings"),
        (
            {"random": {"points": 3, "settings": {"seed": {"low": 3, "high": 1}}}},
            r"random.settings.seed: .*the first smaller",
        ),
        (
            {"random": {"points": 3, "settings": {"years": {"low": 0, "high": 1, "scale": "log"}}}},
            "above 0 on a log scale",
        ),
        (
            {"random": {"points": 3, "settings": {"seed": {"low": 1, "high": 10**20}}}},
            r"random.settings.seed: .*; whole numbers below 2\^63 in size",
        ),
        (
            {"random": {"points": 3, "settings": {"seed": {"low": -1e308, "high": 1e308}}}},
            r"random.settings.seed: .*; two numbers, less than 1.7e308 apart",
        ),
        (
            {"random": {"points": 0, "settings": {"seed": {"low": 0, "high": 1}}}},
            "random.points: 0",
        ),
        ({"random": {"points": 1, "settings": {"seed": []}}}, "random.settings.seed: no values"),
    ],
)
def test_bad_designs(design, message):
    with pytest.raises(UserError, match=message) as raised:
        Points(read(design))
    assert "\n" not in str(raised.value)


def test_true_is_not_one():
    assert [
        s["satisfaction.judged"]
        for s in settings_of({"grid": {"satisfaction.judged": [1, True, False, 0]}})
    ] == [
        1,
        True,
        False,
        0,
    ]


def test_names_that_a_user_gives_are_names():
    run = {
        "population": {
            "cohorts": [
                {"name": "a", "rule": "quantal", "size": 2},
                {"name": "b", "rule": "adaptive", "size": 2},
            ]
        }
    }
    grid = {
        "population.shares.a": [0.2, 0.4],
        "population.cohorts.0.parameters.precision": [1.0, 10.0],
    }
    points = Points(read({"run": run, "grid": grid}))
    last = points.config(points[3])
    assert last.shares == pytest.approx({"a": 0.4, "b": 0.6})
    assert last.cohorts[0].parameters == {"precision": 10.0}
