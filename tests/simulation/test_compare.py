"""Schedules side by side: the figures of an appraisal, the statistics over populations, the files
and commands.
"""

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from oracles import economy as oracle
from oracles import leader
from scipy import stats

import jaxecon as je
from jaxecon.cli.output.compare import print_comparison
from jaxecon.cli.output.policies import rates_text
from jaxecon.config.read import load_config
from jaxecon.core.errors import UserError
from jaxecon.economy.build import build_economy
from jaxecon.economy.equilibrium import equilibrium_outcome
from jaxecon.economy.precision import compute_context
from jaxecon.kernels.optimum import certified as stackelberg
from jaxecon.kernels.optimum.space import Effort
from jaxecon.planners import announced
from jaxecon.planners.announced import Knowledge, followers
from jaxecon.planners.appraisal import appraise, money_metric
from jaxecon.simulation import compare as studies
from jaxecon.simulation import optimum as simulation_optimum
from jaxecon.simulation.compare import check_planners, compare, summarise, write_comparison
from jaxecon.simulation.optimum import prepare_folder, study_optimum

SMALL = {
    "precision": "float64",
    "population": {"cohorts": [{"name": "a", "rule": "rational", "size": 60}]},
}
RATES = (0.7, 0.5, 0.6)


@pytest.fixture(scope="module")
def appraisal():
    config = load_config(SMALL)
    with compute_context(config):
        economy = build_economy(config)
        return np.asarray(economy.population.skill), appraise(
            economy, je.TaxSchedule.three_bracket(RATES)
        )


def independent(skill, thresholds, rates):
    """Hours, income, tax, rebate, utility in NumPy."""
    c = oracle.calibrated_weight(skill)
    hours, _ = oracle.best_response(thresholds, rates, skill, c)
    income = skill * hours
    tax = oracle.tax(thresholds, rates, income)
    return hours, income, tax, tax.mean(), income - tax + tax.mean() - c * hours**3.5


def test_appraisal(appraisal):
    skill, found = appraisal
    hours, income, tax, rebate, utility = independent(skill, oracle.THREE_THRESHOLDS, RATES)
    _, federal_income, *_, federal = independent(skill, oracle.US_THRESHOLDS, oracle.US_RATES)
    _, _, _, _, untaxed = independent(skill, [0.0], [0.0])
    g = 1 / np.maximum(federal_income, 10_000)
    g = g / g.mean()
    assert float(found.welfare) == pytest.approx((g * utility).mean(), rel=1e-7)
    assert float(found.gain) == pytest.approx(
        (g * utility).mean() / (g * federal).mean() - 1, rel=1e-6
    )
    assert float(found.hours) == pytest.approx(hours.mean(), rel=1e-6)
    assert float(found.rebate) == pytest.approx(rebate, rel=1e-6)
    # what untaxed work would be worth, less what is left of it and the money that came in
    lost = (untaxed - (utility - rebate)).mean() - tax.mean()
    assert lost > 0
    assert float(found.deadweight_loss) == pytest.approx(lost, rel=1e-6)
    decile = np.repeat(np.arange(10), 6)  # the quantile midpoints are in order
    for d in range(10):
        these = decile == d
        assert float(found.decile_worth[d]) == pytest.approx(
            (utility - untaxed)[these].mean(), rel=1e-6
        )
        assert float(found.decile_average_rate[d]) == pytest.approx(
            tax[these].sum() / income[these].sum(), rel=1e-6
        )
        assert float(found.decile_gain_share[d]) == pytest.approx((utility > federal)[these].mean())
        assert float(found.decile_loss_share[d]) == pytest.approx((utility < federal)[these].mean())
    bracket = np.searchsorted(oracle.THREE_THRESHOLDS, income - 1e-6, side="right") - 1
    for k in range(3):
        assert float(found.bracket_people[k]) == pytest.approx((bracket == k).mean())
        expected = g[bracket == k].mean() if np.any(bracket == k) else np.nan
        assert float(found.bracket_weight[k]) == pytest.approx(expected, rel=1e-6, nan_ok=True)


def test_bunchers_belong_to_the_bracket_below_their_kink():
    """Also those whose skill*(t/skill) rounds above t in float32."""
    shares = []
    for precision in ("float32", "float64"):
        config = load_config(SMALL | {"precision": precision}, ["population.cohorts.0.size=1000"])
        with compute_context(config):
            economy = build_economy(config)
            schedule = je.TaxSchedule([0.0, 60_000.0, 124_250.0], [0.3, 0.5, 0.9995]).astype(
                economy.population.skill.dtype
            )
            shares.append(appraise(economy, schedule).bracket_people)
            income = np.asarray(equilibrium_outcome(economy, schedule).income)
            assert income.max() < 124_250.1
            if precision == "float32":
                assert np.sum(income > 124_250) > 5
    assert shares[0][2] == shares[1][2] == 0
    np.testing.assert_allclose(shares[0], shares[1], atol=1.5e-3)


def test_a_lump_sum_would_lose_nothing():
    """The excess burden of no tax is zero, and of any tax positive."""
    config = load_config(SMALL)
    with compute_context(config):
        economy = build_economy(config)
        losses = [
            float(appraise(economy, je.TaxSchedule.flat(rate)).deadweight_loss)
            for rate in (0.0, 0.2, 0.4, 0.8)
        ]
    assert losses[0] == pytest.approx(0, abs=1e-6)
    assert np.all(np.diff(losses) > 0)


def test_money_metric_with_income_effects():
    """With the lump sum an untaxed economy gives the same utility."""
    config = load_config(SMALL, ["preferences.consumption_curvature=1.0"])
    with compute_context(config):
        economy = build_economy(config)
        people = economy.population
        lump_sum = money_metric(people, economy.reference)
        untaxed = je.TaxSchedule.flat(0.0)
        hours = je.best_response(untaxed, people.skill, people.preferences, lump_sum)
        utility = je.isoelastic_utility(people.preferences, people.skill * hours + lump_sum, hours)
        np.testing.assert_allclose(utility, economy.reference.utility, rtol=1e-9)
        assert float(appraise(economy, je.TaxSchedule.us_federal()).deadweight_loss) > 0


def test_statistics_over_populations():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.2, 0.05, 12), rng.normal(0.25, 0.05, 12)
    rows = [
        {
            "population": i,
            "seed": i,
            "policy": name,
            "gain": gain,
            "hours": 30.0 + i,
            "decile_worth": [1.0 * i, 2.0],
        }
        for name, gains in (("saez", a), ("optimum", b))
        for i, gain in enumerate(gains)
    ]
    saez, optimum = summarise(rows, ["saez", "optimum"], "optimum")
    interval = stats.t.interval(0.95, 11, loc=a.mean(), scale=stats.sem(a))
    assert (saez["gain"]["low"], saez["gain"]["high"]) == pytest.approx(interval)
    assert saez["gain"]["standard_error"] == pytest.approx(stats.sem(a))
    paired = stats.ttest_rel(a, b)
    assert saez["difference"]["mean"] / saez["difference"]["standard_error"] == pytest.approx(
        paired.statistic
    )
    assert optimum["difference"]["mean"] == 0
    assert saez["hours"] == pytest.approx(35.5)
    assert saez["decile_worth"] == pytest.approx([5.5, 2.0])


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    config = simulation_optimum.people(None, ["schedule.brackets=three"], 60)
    found = compare(config, ["us_federal", "saez", "uniform_50"], 3)
    folder = tmp_path_factory.mktemp("compare") / "out"
    prepare_folder(folder, config)
    write_comparison(folder, found)
    return config, found, folder


def test_planners_meet_the_same_populations(comparison):
    _, found, folder = comparison
    assert found.yardstick == "us_federal"
    rows = pq.read_table(folder / "policies.parquet").to_pylist()
    assert [(row["population"], row["seed"], row["policy"]) for row in rows] == [
        (i, i, name) for i in range(3) for name in ("us_federal", "saez", "uniform_50")
    ]
    federal = [row for row in rows if row["policy"] == "us_federal"]
    assert all(abs(row["gain"]) < 1e-6 and len(row["rates"]) == 7 for row in federal)
    assert len({row["income"] for row in federal}) == 3  # three different populations
    types = pq.read_schema(folder / "policies.parquet")
    # though all unknown
    assert (types.field("converged").type, types.field("last_change").type) == (
        pa.bool_(),
        pa.float64(),
    )
    assert pq.read_table(folder / "deciles.parquet").num_rows == 3 * 3 * 10
    assert pq.read_table(folder / "brackets.parquet").num_rows == 3 * (7 + 3 + 3)
    written = json.loads((folder / "compare.json").read_text())
    assert [row["policy"] for row in written["summary"]] == ["us_federal", "saez", "uniform_50"]


def test_a_population_is_what_its_seed_says(comparison):
    config, found, _ = comparison
    alone = compare(
        load_config(config, ["seed=2", "population.sampling=random"]),
        ["us_federal", "saez", "uniform_50"],
        1,
    )
    assert [row["gain"] for row in alone.rows] == [
        row["gain"] for row in found.rows if row["population"] == 2
    ]


def test_a_planner_without_a_schedule_is_named(tmp_path):
    """Ten people are too few for a density: the others are compared, and the reason is given."""
    found = compare(simulation_optimum.people(None, [], 10), ["uniform_50", "saez"], 1)
    assert [row["policy"] for row in found.rows] == ["uniform_50"]
    assert "density" in found.missing["saez"]


def test_a_schedule_that_is_no_fixed_point_is_told(tmp_path, capsys):
    """Of these two populations the first jumps between schedules for ever."""
    config = simulation_optimum.people(None, ["seed=1"], 100)
    found = compare(config, ["uniform_50", "saez_self_consistent"], 2)
    print_comparison(found, tmp_path)
    told = " ".join(capsys.readouterr().out.split())
    assert (
        "Saez, fixed point: not a fixed point in 1 of 2 populations (the last iteration asked for "
        "changes of up to 0." in told
    )
    assert told.count("not a fixed point") == 1
    write_comparison(tmp_path, found)
    rows = pq.read_table(tmp_path / "policies.parquet").to_pylist()
    assert [(row["policy"], row["converged"]) for row in rows] == [
        ("uniform_50", None), ("saez_self_consistent", False),
        ("uniform_50", None), ("saez_self_consistent", True),
    ]  # fmt: skip
    assert rows[0]["last_change"] is None
    assert rows[1]["last_change"] > 0.01
    assert 0 < rows[3]["last_change"] <= 0.001
    half, fixed = json.loads((tmp_path / "compare.json").read_text())["summary"]
    assert (half["not_converged"], fixed["not_converged"]) == (0, 1)
    assert fixed["last_change"] == pytest.approx(
        (rows[1]["last_change"] + rows[3]["last_change"]) / 2
    )


@pytest.mark.parametrize("names", [["saez", "sayez"], [], ["saez", "saez"]])
def test_names_of_planners(names):
    with pytest.raises(UserError, match=r"--planners: .*us_federal, flat, saez"):
        check_planners(names)


def test_agents_and_a_configuration_contradict(tmp_path):
    (tmp_path / "c.yaml").write_text("years: 2\n")
    with pytest.raises(UserError, match=r"--agents: 5; .*c.yaml says already how many"):
        simulation_optimum.people(tmp_path / "c.yaml", [], 5)
    with pytest.raises(UserError, match=r"--agents: 5; population.mechanical=3 says already"):
        simulation_optimum.people(None, ["population.mechanical=3"], 5)
    assert (
        sum(
            c.size
            for c in simulation_optimum.people(
                None, ["population.mechanical=3", "population.llm=0"], None
            ).cohorts
        )
        == 3
    )
    assert [c.size for c in simulation_optimum.people(None, [], None).cohorts] == [1000]


def jaxecon(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "jaxecon", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**__import__("os").environ, "PYTHONPATH": studies.__file__.rsplit("/jaxecon/", 1)[0]},
    )


def test_optimum_command(tmp_path):
    done = jaxecon(
        "optimum",
        "--agents",
        40,
        "--set",
        "schedule.brackets=three",
        "--method",
        "grid",
        "--out",
        "o",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    for expected in (
        "US federal",
        "Saez",
        "optimum",
        "1,331 schedules of the grid",
        "First-order residuals",
    ):
        assert expected in " ".join(done.stdout.split())
    assert {p.name for p in (tmp_path / "o").iterdir()} == {
        "config.yaml",
        "optimum.json",
        "schedule.png",
    }
    assert (tmp_path / "o" / "schedule.png").read_bytes().startswith(b"\x89PNG")
    report = json.loads((tmp_path / "o" / "optimum.json").read_text())
    best = report["rows"][-1]
    assert best["policy"] == "optimum"
    assert best["rates"] == pytest.approx(np.round(best["rates"], 1).tolist(), abs=1e-6)
    problem = leader.standard("calibrated", 40, np.array(oracle.THREE_THRESHOLDS))
    rates, welfare = leader.grid(problem, np.linspace(0, 1, 11))
    assert best["rates"] == pytest.approx(rates.tolist(), abs=1e-6)
    assert best["welfare"] == pytest.approx(welfare, rel=1e-5)
    federal = leader.welfare(
        problem.but(thresholds=np.array(oracle.US_THRESHOLDS)), np.array(oracle.US_RATES)
    )[0]
    assert best["gain"] == pytest.approx(welfare / federal - 1, rel=1e-3)


def test_the_optimum_certified_is_the_one_the_planner_announces(monkeypatch):
    """Whatever the seed of the people.

    So short a search finds another schedule with another seed of its own.
    """
    monkeypatch.setattr(stackelberg, "_EFFORT", Effort(1, 1, 8, 4, 1))
    config = simulation_optimum.people(None, ["seed=5", "population.sampling=random"], 100)
    with compute_context(config):
        economy, told = build_economy(config), Knowledge.from_config(config)
        planned = announced("optimum", economy, told).schedule.rates
        other = stackelberg.solve(followers(economy), told.thresholds, seed=5).schedule.rates
    assert np.abs(np.asarray(planned - other)).max() > 1e-3
    found = study_optimum(config, "auto")
    assert found.rows[-1]["rates"] == pytest.approx(planned.tolist(), abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["optimum", "--set", "budget.public_spending=1e6", "--set", "budget.rebate_floor=0"],
            "budget.public_spending: 1e+06; no schedule",
        ),
        (
            ["optimum", "--method", "grid", "--grid-step", "0.3"],
            "grid_step: 0.3; must divide the bounds",
        ),
        (["compare", "--planners", "saez,llm"], "--planners: 'llm'; any of us_federal, flat, saez"),
    ],
)
def test_mistakes_of_commands(tmp_path, arguments, message):
    done = jaxecon(
        *arguments,
        *(["--agents", 30] if arguments[0] == "optimum" else []),
        "--out",
        "o",
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "o").exists()


def test_no_rate_is_cut_in_two():
    """Where there are too many for a line of a table, the next begins after a slash."""
    rates = [0.804, 0.683, 0.571, 0.566, 0.36, 0.53, 0.419]
    shown = rates_text(rates)
    assert shown == "80.4/68.3/57.1/56.6/\n36/53/41.9"
    assert rates_text([0.1, 0.12, 0.22, 0.24, 0.32, 0.35, 0.37]) == "10/12/22/24/32/35/37"
    assert rates_text([0.5] * 7) == "50"
