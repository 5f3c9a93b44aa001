"""The designs in the experiments' files, and the settings that may not be changed in them."""

import importlib
from pathlib import Path

import pytest

from experiments.pages.reproduction import PAGE
from experiments.suite.conduct import conduct
from experiments.suite.registry import NAMES, SIZES, load_designs
from experiments.suite.report import MIN_POPULATIONS
from jaxecon.core.errors import UserError
from jaxecon.sweeps.design import read
from jaxecon.sweeps.points import Points

# designs whose points an experiment computes
COMPUTED = {("baselines", "announced"), ("empirical_saez", "planners")}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", NAMES)
def test_designs_are_sound(name, size):
    """Names and values that exist; at least 30 populations in each mechanical arm, the same in all
    of a study.
    """
    tree = load_designs(name, size)
    counts = set()
    for kind, of_kind in tree.items():
        for where, design in of_kind.items():
            if (name, where) in COMPUTED:
                continue
            points = Points(read(design))
            for i in {0, len(points) - 1}:
                assert points.config(points[i]).needs_engine == (kind == "llm")
            if kind == "mechanical":
                counts.add(design["seeds"])
                assert design["run"].get("seed", 0) == 0
    assert min(counts) >= MIN_POPULATIONS
    if name != "scale":  # whose two studies share no table
        assert len(counts) == 1
    module = importlib.import_module(f"experiments.questions.{name}")
    assert module.QUESTION.count("?") >= 1


@pytest.mark.parametrize(
    ("name", "override", "does"),
    [
        ("tax_year", "year.days=16", "varies"),
        ("tax_year", "planner.kind=saez", "fixes"),
        ("baselines", "planner.kind=saez", "fixes"),
        ("baselines", "planner={kind: saez}", "fixes"),
        ("baselines", "planner.elasticity=0.2", "fixes"),
        ("empirical_saez", "planner.elasticity=0.2", "fixes"),
        ("planner_prompt", "planner.kind=optimum", "fixes"),
        ("population_mix", "population.cohorts.1.rule=rational", "fixes"),
        ("satisfaction", "satisfaction.judged=false", "fixes"),
        ("units", "planner.kind=optimum", "fixes"),
        ("units", "schedule.brackets=flat", "fixes"),
        ("hours", "labor.choices=5", "varies"),
        ("hours", "preferences.consumption_curvature=1", "fixes"),
    ],
)
def test_a_setting_that_an_experiment_varies_or_fixes_is_refused(name, override, does, tmp_path):
    with pytest.raises(
        UserError, match=r"the experiment (varies|fixes) it; jaxecon sweep"
    ) as caught:
        conduct(name, out=tmp_path / "out", llm=False, overrides=[override])
    assert str(caught.value).startswith(f"--set {override}: the experiment {does} it")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", NAMES)
def test_a_planner_is_given_its_time(name, tmp_path):
    """In a single year no planner has moved: there is nothing to compare."""
    with pytest.raises(UserError, match=rf"^years: 1; at least [23] in {name}\.mechanical\.\w+$"):
        conduct(name, out=tmp_path / "out", llm=False, overrides=["years=1"])
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_missing(tmp_path):
    designs = load_designs("tax_year", "quick")
    designs["llm"]["workers"]["run"]["llm"] = {"model": "./nowhere"}
    with pytest.raises(UserError, match=r"nowhere.*\(or --no-llm\)"):
        conduct("tax_year", out=tmp_path / "out", designs=designs)
    assert not (tmp_path / "out").exists()


def test_the_readme_says_how_many_populations_there_are():
    text = (Path(PAGE).parent.parent / "README.md").read_text()
    assert f"simulates the same populations, at least {MIN_POPULATIONS}, in every arm" in text
