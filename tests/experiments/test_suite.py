"""The suite: what an experiment finds and leaves, that it goes on where it was interrupted, and
what a user is told.
"""

import copy
import importlib
import importlib.util
import itertools
import json
import math
import shutil
import sys
import types
from contextlib import nullcontext
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import jaxecon as je
from experiments.pages import reproduction
from experiments.questions import units
from experiments.suite import arms as suite_arms
from experiments.suite import conduct as suite
from experiments.suite import conduct as suite_conduct
from experiments.suite.conduct import MIN_POPULATIONS
from experiments.suite.registry import NAMES, SIZES, load_designs
from experiments.suite.study import Study
from experiments.suite.tables import arms_table
from jaxecon.cli.app import app
from jaxecon.cli.errors import USER_ERROR
from jaxecon.config.read import load_config
from jaxecon.core.errors import UserError
from jaxecon.economy.build import build_economy
from jaxecon.economy.precision import compute_context
from jaxecon.economy.summary import SETTLED_WITHIN, settling_days
from jaxecon.sweeps.design import read
from jaxecon.sweeps.listener import SilentSweepListener
from jaxecon.sweeps.points import Points

RUNNER = CliRunner()
WORKED_OUT = {
    ("baselines", "announced"),
    ("empirical_saez", "planners"),
}  # designs whose points an experiment works out


def small(name, *, llm=False, seeds=5, **run):
    """An experiment's quick designs with few and small economies."""
    tree = load_designs(name, "quick")
    for design in tree["mechanical"].values():
        given = design["run"]
        given |= {"years": 3, "year": {"days": 4}, **copy.deepcopy(run)}
        for cohort in given["population"]["cohorts"]:
            cohort["size"] = min(cohort["size"], 30)
        if "seeds" in design:
            design["seeds"] = seeds
    if not llm:
        tree["llm"] = {}
    return tree


def conduct(name, out, given, **more):
    return suite_conduct.conduct(name, out=out, given=given, **more)


# --- the designs ----------------------------------------------------------------------------------


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
            if (name, where) in WORKED_OUT:
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


# --- what is found --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def factorial(tmp_path_factory):
    """The factorial on small economies: a planner that has an ingredient taken away is the planted
    effect.
    """
    folder = tmp_path_factory.mktemp("factorial") / "out"
    given = small("planner_prompt", seeds=30, years=24, year={"days": 12})
    return conduct("planner_prompt", folder, given), given


def table_of(report, name):
    return next(table for table in report.tables if table.name == name)


def row_of(table, **keys):
    (found,) = (row for row in table.rows if all(row[key] == value for key, value in keys.items()))
    return found


def test_a_planner_without_exploitation_is_found(factorial):
    report, _ = factorial
    main = row_of(table_of(report, "effects"), figure="gain_equilibrium", effect="exploitation")
    assert main["n"] == 30
    assert main["p"] < 0.01
    assert main["difference_low"] > 0
    assert main["effect_size"] > 0.5
    without = row_of(
        table_of(report, "ablations"), figure="gain_equilibrium", planner="without exploitation"
    )
    assert without["difference"] < 0
    assert without["p"] < 0.05


def test_effects_are_those_of_the_points(factorial):
    """The main effect from the sweep's table in NumPy, without the suite."""
    report, _ = factorial
    points = pq.read_table(report.folder / "mechanical/factorial/points.parquet")
    exploits = np.array(points["planner.memory.exploitation"].to_pylist())
    gains, seeds = (np.array(points[name].to_pylist()) for name in ("gain_equilibrium", "seed"))
    by_population = [
        gains[exploits & (seeds == s)].mean() - gains[~exploits & (seeds == s)].mean()
        for s in range(30)
    ]
    found = row_of(table_of(report, "effects"), figure="gain_equilibrium", effect="exploitation")
    assert found["difference"] == pytest.approx(np.mean(by_population), rel=1e-9)
    assert found["effect_size"] == pytest.approx(
        np.mean(by_population) / np.std(by_population, ddof=1), rel=1e-9
    )


def test_what_an_experiment_leaves(factorial):
    report, _ = factorial
    manifest = json.loads((report.folder / "manifest.json").read_text())
    assert (manifest["status"], manifest["name"], manifest["llm"]) == (
        "complete",
        "planner_prompt",
        "none",
    )
    account = manifest["designs"]["mechanical.factorial"]
    assert (account["points"], account["failed"], account["populations"], account["seeds"]) == (
        480,
        0,
        30,
        [0, 29],
    )
    assert {"versions", "hardware", "git_revision", "seconds"} <= manifest.keys()
    text = (report.folder / "report.md").read_text()
    for table in report.tables:
        kept = json.loads((report.folder / f"tables/{table.name}.json").read_text())
        assert (
            len(kept["rows"])
            == len(table.rows)
            == pq.read_table(report.folder / f"tables/{table.name}.parquet").num_rows
        )
        assert table.title in text
    for path in report.figures:
        assert path.read_bytes().startswith(b"\x89PNG")
        assert f"figures/{path.name}" in text


def test_one_program_for_each_shape_of_memory(factorial):
    """Switches are arrays: sixteen planners compile twice, for the two lengths of history."""
    report, _ = factorial
    plan = json.loads((report.folder / "mechanical/factorial/plan.json").read_text())
    assert len({chunk["form"] for chunk in plan["chunks"]}) == 2


class Interrupting(SilentSweepListener):
    def on_chunk(self, points, failed):
        raise KeyboardInterrupt


def test_it_goes_on_where_it_was_interrupted(factorial, tmp_path):
    whole, given = factorial
    with pytest.raises(KeyboardInterrupt):
        conduct(
            "planner_prompt", tmp_path / "out", given, watch=lambda _: nullcontext(Interrupting())
        )
    assert json.loads((tmp_path / "out/manifest.json").read_text())["status"] == "running"
    (part,) = (tmp_path / "out/mechanical/factorial/points.parquet").glob("part-*")
    before = part.stat().st_mtime_ns
    again = conduct("planner_prompt", tmp_path / "out", given)
    assert part.stat().st_mtime_ns == before
    for table in whole.tables:
        assert table_of(again, table.name) == table
    with pytest.raises(UserError, match="holds another experiment"):
        conduct("planner_prompt", tmp_path / "out", small("planner_prompt"))


def test_language_models_are_described(tmp_path):
    """The simulated engine in a model's place: runs that are told about, not tested, and not lived
    twice.
    """
    given = small("tax_year", llm=True)
    given["mechanical"]["arms"]["grid"]["year.days"] = [4, 8]
    design = given["llm"]["workers"]
    design["run"] |= {
        "population": {"mechanical": 0, "llm": 3, "sampling": "random"},
        "llm": {"engine": "simulated"},
    }
    design["grid"]["year.days"] = [2, 3]
    report = conduct("tax_year", tmp_path / "out", given)
    table = table_of(report, "llm_workers")
    assert [row["answers"] for row in table.rows] == [2 * 3 * 2, 2 * 3 * 3]
    assert not any(key.startswith("p_") or key == "p" for row in table.rows for key in row)
    assert any("simulated engine is rules, no language model" in note for note in report.notes)
    transcripts = sorted((tmp_path / "out/llm/workers/runs").glob("*/transcript.sqlite"))
    before = [path.stat().st_mtime_ns for path in transcripts]
    assert len(before) == 2
    conduct("tax_year", tmp_path / "out", given)
    assert [path.stat().st_mtime_ns for path in transcripts] == before
    settled = row_of(table_of(report, "settling"), figure="settling", days="8")
    assert 0 <= settled["mean"] <= 8


@pytest.mark.parametrize(
    "name", ["baselines", "scale", "population_mix", "satisfaction", "empirical_saez", "units"]
)
def test_every_experiment_runs(name, tmp_path, monkeypatch):
    given, computed, swept = small(name), set(), Study.sweep

    def sweep(study, design, points=None):
        computed.update(key for point in points or () for key in point)
        return swept(study, design, points)

    monkeypatch.setattr(Study, "sweep", sweep)
    mechanical = given["mechanical"]
    match name:
        case "scale":
            mechanical["people"]["grid"]["population.cohorts.0.size"] = [10, 20]
            mechanical["panels"]["grid"] = {
                "population.cohorts.0.size": [4],
                "population.shares.panel": [0.05, 0.5],
            }
        case "empirical_saez":
            mechanical["panel"]["grid"]["population.cohorts.0.rule"] = ["rational", "adaptive"]
            mechanical["panel"]["run"] |= {"years": 8}
        case "baselines":
            mechanical["panel"]["run"] |= {"years": 8}
        case "units":
            mechanical["learning"]["grid"] = {
                "preferences.set": ["calibrated"],
                "welfare.floor": [10_000],
            }
            mechanical["federal"]["grid"] = {"preferences.set": ["calibrated"]}
    report = conduct(name, tmp_path / "out", given)
    assert report.failed == 0
    assert report.figures
    assert computed <= {
        "seed",
        *getattr(importlib.import_module(f"experiments.questions.{name}"), "RESERVED", ()),
    }
    for table in report.tables:
        assert table.rows
        assert all(len(row) == len(table.heads) for row in table.cells)
        assert all(row["n"] == 5 for row in table.rows)
    if name == "empirical_saez":  # who responds exactly shows the elasticity that there is
        found = row_of(table_of(report, "elasticities"), workers="rational")
        assert found["mean"] == pytest.approx(0.4, abs=0.02)
    if name == "baselines":  # nobody gains more than the optimum once all have learnt it
        gains = {
            row["planner"]: row["mean"]
            for row in table_of(report, "gains").rows
            if row["figure"] == "gain_equilibrium"
        }
        assert gains["US federal"] == pytest.approx(0, abs=1e-4)
        assert max(gains, key=gains.get) == "optimum"


# --- settling -------------------------------------------------------------------------------------


@pytest.mark.parametrize("days", [1, 5, 8, 40])
def test_settling_days_against_numpy(days):
    """From its definition, day by day."""
    rng = np.random.default_rng(days)
    for _ in range(20):
        hours = (
            30 + 8 * np.exp(-np.arange(days) / 5) * rng.choice([0, 1]) + rng.normal(0, 0.7, days)
        )
        closing = hours[-max(1, days // 8) :].mean()
        expected = next(
            d for d in range(days + 1) if np.all(np.abs(hours[d:] - closing) <= SETTLED_WITHIN)
        )
        assert float(settling_days(hours.astype(np.float32))) == expected


def test_a_path_with_a_known_settling_day():
    hours = np.r_[np.full(7, 40.0), np.full(25, 28.0)].astype(np.float32)
    assert float(settling_days(hours)) == 7
    assert float(settling_days(np.full(10, 28.0, np.float32))) == 0


# --- the command ----------------------------------------------------------------------------------


def assert_one_line(result, message):
    assert result.exit_code == USER_ERROR
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")  # so that no heading of the table is folded
    given = small("population_mix")
    monkeypatch.setattr(
        suite,
        "load_designs",
        lambda name, size: copy.deepcopy(given) | {"llm": {"objectives": {"run": {}, "seeds": 1}}},
    )
    done = RUNNER.invoke(
        app,
        ["experiment", "population_mix", "--quick", "--no-llm", "--out", "out", "--set", "years=2"],
    )
    assert done.exit_code == 0, done.output
    for expected in (
        "egotists alone",
        "gain once learnt",
        "Figure: out/figures/mixes.png",
        "left out (--no-llm)",
        "report.md",
    ):
        assert expected in done.stdout
    assert json.loads((tmp_path / "out/manifest.json").read_text())["llm"] == "left out (--no-llm)"
    years = pq.read_table(tmp_path / "out/mechanical/mixes/years.parquet")
    assert set(years["year"].to_pylist()) == {0, 1}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tax_yeer"], "jaxecon: experiment: 'tax_yeer'; one of tax_year, planner_prompt,"),
        (["tax_year", "--quick", "--full"], "--quick and --full: give one of them"),
        (
            ["tax_year", "--no-llm", "--set", "yeers=3"],
            "yeers: no such setting; did you mean 'years'?",
        ),
        (
            ["tax_year", "--no-llm", "--set", "years=1"],
            "jaxecon: years: 1; at least 3 in tax_year.mechanical.arms",
        ),
        (
            ["voting", "--no-llm", "--set", "years=2"],
            "jaxecon: years: 2; at least 3 in voting.mechanical.elections",
        ),
        (
            ["baselines", "--no-llm", "--set", "years=1"],
            "jaxecon: years: 1; at least 2 in baselines.mechanical.panel",
        ),
        (
            ["empirical_saez", "--set", "years=1"],
            "jaxecon: years: 1; at least 2 in empirical_saez.mechanical.panel",
        ),
        (
            ["tax_year", "--no-llm", "--out", "taken"],
            "--out: taken: is not empty; give a new folder",
        ),
        (["tax_year", "--no-llm", "--out", "file"], "--out: file: is a file; give a new folder"),
    ],
)
def test_mistakes(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/something").touch()
    (tmp_path / "file").touch()
    assert_one_line(RUNNER.invoke(app, ["experiment", *arguments]), message)
    assert not (tmp_path / "runs").exists()


def test_without_vllm_the_line_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: None if name == "vllm" else found(name, *more),
    )
    monkeypatch.setattr(suite_conduct, "check_engines", lambda config: None)
    result = RUNNER.invoke(app, ["experiment", "planner_prompt", "--out", "out"])
    assert_one_line(result, "planner_prompt.llm.planner: needs vLLM: pip install 'jaxecon[vllm]'")
    assert "--no-llm" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_missing(tmp_path):
    given = load_designs("tax_year", "quick")
    given["llm"]["workers"]["run"]["llm"] = {"model": "./nowhere"}
    with pytest.raises(UserError, match=r"nowhere.*\(or --no-llm\)"):
        conduct("tax_year", tmp_path / "out", given)
    assert not (tmp_path / "out").exists()


def test_somebody_elses_experiments(tmp_path, monkeypatch):
    other = types.ModuleType("experiments")
    other.__file__ = str(tmp_path / "experiments/__init__.py")
    monkeypatch.setitem(sys.modules, "experiments", other)
    assert_one_line(RUNNER.invoke(app, ["experiment", "tax_year"]), "is not jaxecon's")
    monkeypatch.setitem(sys.modules, "experiments", None)
    assert_one_line(
        RUNNER.invoke(app, ["experiment", "tax_year"]), "experiments: this installation of jaxecon"
    )


def test_the_best_schedules_in_any_hours_and_in_steps():
    """By a NumPy program of its own: every schedule of the grid, every worker's best of eleven
    choices.
    """
    rates, thresholds = np.linspace(0, 1, 11), np.array([0.0, 90_000, 159_100])
    settings = {
        "population": {"llm": 0, "mechanical": 40},
        "precision": "float64",
        "schedule": {"brackets": "three"},
    }
    config = load_config(settings)
    with compute_context(config):
        economy = build_economy(config)
        any_hours, steps = map(float, units.best_gains(economy, jnp.asarray(thresholds)))
        skill, c = (
            np.asarray(economy.population.skill),
            np.asarray(economy.population.preferences.disutility_weight),
        )
        weights = je.welfare_weights(
            "inverse_income", economy.reference.income, economy.population.weight
        )
        before = float(
            je.social_welfare(economy.reference.utility, weights, economy.population.weight)
        )
        g, w = np.asarray(weights), np.asarray(economy.population.weight)
        best = je.optimal_schedule(
            skill,
            economy.population.preferences,
            thresholds,
            weights,
            economy.population.weight,
            method="grid",
            grid_step=0.1,
        )
    assert any_hours == pytest.approx(float(best.gain), abs=1e-9)
    income = skill[:, None] * np.arange(0, 101, 10)
    slices = np.stack(
        [
            np.clip(income - low, 0, high - low)
            for low, high in zip(thresholds, [*thresholds[1:], np.inf])
        ]
    )
    cost = c[:, None] * np.arange(0, 101, 10) ** 3.5
    found = []
    for schedule in itertools.product(rates, repeat=3):
        tax = np.tensordot(schedule, slices, 1)
        own = income - tax - cost
        choice = own.argmax(axis=1)[:, None]
        paid, gained = (np.take_along_axis(x, choice, 1)[:, 0] for x in (tax, own))
        found.append(np.average(g * (gained + np.average(paid, weights=w)), weights=w))
    assert steps == pytest.approx(max(found) / before - 1, abs=1e-9)
    assert steps > any_hours + 0.02


# --- what an experiment's arms take notice of -----------------------------------------------------


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
    ],
)
def test_a_setting_that_an_experiment_varies_or_fixes_is_refused(name, override, does, tmp_path):
    with pytest.raises(
        UserError, match=r"the experiment (varies|fixes) it; jaxecon sweep"
    ) as caught:
        suite_conduct.conduct(name, out=tmp_path / "out", llm=False, overrides=[override])
    assert str(caught.value).startswith(f"--set {override}: the experiment {does} it")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", NAMES)
def test_a_planner_is_given_its_time(name, tmp_path):
    """In a single year no planner has moved: there is nothing to compare."""
    with pytest.raises(UserError, match=rf"^years: 1; at least [23] in {name}\.mechanical\.\w+$"):
        suite_conduct.conduct(name, out=tmp_path / "out", llm=False, overrides=["years=1"])
    assert not (tmp_path / "out").exists()


def test_an_elasticity_that_incomes_do_not_tell_is_one_line(tmp_path):
    given = small("baselines", seeds=1, year={"days": 2})
    given["mechanical"]["panel"]["run"]["population"]["cohorts"][0]["size"] = 1
    with pytest.raises(
        UserError, match=r"^the elasticity in 3 years of population 0: income: "
    ) as caught:
        conduct("baselines", tmp_path / "out", given)
    assert "\n" not in str(caught.value)


def lived(seed, arm, settling=1.0, status="ok"):
    return {"seed": seed, "arm": arm, "status": status, "settling": settling, "gain_realised": 0.1}


def arms_of(*rows):
    return suite_arms.arms_of(rows, lambda row: row["arm"], ("gain_realised", "settling"))


def test_a_figure_without_a_value_is_no_failure():
    with pytest.raises(UserError, match=r"^settling: no population has a value in all arms$"):
        arms_of(lived(0, "a"), lived(0, "b", None), lived(1, "a"), lived(1, "b", status="failed"))
    with pytest.raises(UserError, match=r"no population has lived all arms.*points\.parquet"):
        arms_of(lived(0, "a", None), lived(0, "b", status="failed"))
    rest = [
        lived(0, "a", None),
        lived(0, "b"),
        *(lived(seed, arm) for seed in (1, 2) for arm in "ab"),
    ]
    arms = arms_of(
        *rest, lived(3, "a"), lived(3, "b", status="failed"), lived(4, "a", None), lived(4, "b")
    )
    assert (arms.seeds, arms.dropped, arms.lacking) == ([1, 2], 1, 2)
    note = arms_table("t", "", arms, ("settling",), resamples=99).note
    assert "1 populations left out: an arm failed there." in note
    assert "2 populations left out: a figure has no value" in note


# --- the page -------------------------------------------------------------------------------------


def test_the_committed_page_is_what_the_committed_tables_give():
    assert reproduction.PAGE.read_text() == reproduction.page()


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A copy of the committed tables, for the page to be written from."""
    folder = tmp_path / "results"
    shutil.copytree(reproduction.RESULTS, folder)
    monkeypatch.setattr(reproduction, "RESULTS", folder)
    yield folder
    reproduction._read.cache_clear()


def change(results, name, table, to):
    """Rows of a committed table, each with what to(row) gives."""
    path = results / name / "tables" / f"{table}.json"
    kept = json.loads(path.read_text())
    path.write_text(json.dumps(kept | {"rows": [row | to(row) for row in kept["rows"]]}))
    reproduction._read.cache_clear()


def test_a_gain_like_the_published_one_lies_within_it_with_its_whole_interval(results):
    def ends(low, high):
        return lambda row: (
            {"mean": 1.0, "low": low, "high": high}
            if row["parameters"] == "calibrated, floor 10,000"
            else {}
        )

    verdicts = []
    for low, high in ((0.95, 1.1), (0.9, 1.1), (0.95, 1.2), (-3.0, 5.0), (math.nan, math.nan)):
        change(results, "units", "economies", ends(low, high))
        verdicts.append(reproduction._gains()[0])
    assert verdicts == [reproduction.HOLDS, *[reproduction.FAILS] * 4]


def test_why_realised_gains_exceed_the_optimum_is_the_claim_that_is_referred_to():
    (number,) = (
        i
        for i, claim in enumerate(reproduction.CLAIMS, 1)
        if claim.judge is reproduction._steps_of_ten
    )
    text = reproduction._gains()[1]
    assert (
        "once everybody responds exactly, with any hours, no planner can bring more there" in text
    )
    assert f"claim {number})" in text


def test_fewer_populations_make_no_year_long_enough(results):
    verdicts = []
    for low, high in ((70.0, 90.0), (60.0, 90.0), (0.0, 128.0)):
        change(
            results,
            "tax_year",
            "settling",
            lambda row, low=low, high=high: {"mean": 80.0, "low": low, "high": high},
        )
        verdicts.append(reproduction._settling()[0])
    assert verdicts == [reproduction.HOLDS, reproduction.FAILS, reproduction.FAILS]


def finished(results, name, folder, *, without=(), **more):
    """What `jaxecon experiment` would have left, of committed tables."""
    shutil.copytree(results / name, folder)
    manifest = (
        json.loads((folder / "manifest.json").read_text())
        | {"kind": "experiment", "status": "complete"}
        | more
    )
    manifest["tables"] = [table for table in manifest["tables"] if table not in without]
    for table in without:
        (folder / f"tables/{table}.json").unlink()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.mark.parametrize(
    ("name", "table", "judge", "llm", "option"),
    [
        ("planner_prompt", "llm_planner", "_language_models", "left out (--no-llm)", " --no-llm"),
        ("voting", "turnover", "_turnover", "yes", ""),
    ],
)
def test_a_claim_whose_table_is_absent_is_not_measured(
    name, table, judge, llm, option, results, tmp_path
):
    out = finished(results, name, tmp_path / "out", without=(table,), llm=llm)
    before = reproduction.page()
    assert reproduction.take(out) == name
    after = reproduction.page()
    (claim,) = (
        claim for claim in reproduction.CLAIMS if claim.judge is getattr(reproduction, judge)
    )
    verdict, line = reproduction._judged(claim)
    assert verdict == reproduction.MISSING
    assert line == f"`jaxecon experiment {name}{option}` left no table `{table}`."
    assert line in after
    assert before.count(reproduction.MISSING) + 2 == after.count(
        reproduction.MISSING
    )  # in the summary and in its place
    assert not [path for path in results.iterdir() if path.name.startswith(".")]


def test_one_population_with_a_turnover_has_no_interval(results):
    alone = {"n": 1, "mean": 0.0, "low": None, "high": None}
    change(
        results,
        "voting",
        "turnover",
        lambda row: alone if row["economy"] == "3 workers, GB2" else {},
    )
    assert "3 workers, GB2 0.00;" in reproduction._turnover()[1]


def test_results_are_replaced_by_whole_ones_alone(results, tmp_path):
    out = finished(results, "voting", tmp_path / "out")
    (out / "tables/conflict.json").unlink()
    before = {path: path.read_bytes() for path in results.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=r"conflict\.json: No such file"):
        reproduction.take(out)
    assert {path: path.read_bytes() for path in results.rglob("*") if path.is_file()} == before


def test_the_readme_says_how_many_populations_there_are():
    text = (Path(reproduction.PAGE).parent.parent / "README.md").read_text()
    assert f"simulates the same populations, at least {MIN_POPULATIONS}, in every arm" in text
