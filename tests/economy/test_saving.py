"""Saving and a tax on its return: kernels beside SciPy, years beside accounts made by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, optimize

import jaxecon as je
from jaxecon.config.read import load_config
from jaxecon.core.errors import UserError
from jaxecon.economy.build import build_economy
from jaxecon.economy.capital import capital_at_equilibrium
from jaxecon.economy.equilibrium import equilibrium_welfare, leader_problem, welfare_gain
from jaxecon.economy.first_schedule import first_schedule
from jaxecon.economy.precision import compute_context
from jaxecon.kernels import saving as sv
from jaxecon.kernels.optimum.certified import solve
from jaxecon.planners import Knowledge, announced
from jaxecon.planners.appraisal import appraise

COHORTS = [
    {"name": "exact", "rule": "rational", "size": 60},
    {"name": "settled", "rule": "fixed", "size": 40},
]


SHARES = {"exact": 0.3, "settled": 0.7}


def of(
    return_rate=0.05,
    tax=0.3,
    elasticity=0.5,
    adjustment=0.1,
    wealth_income_ratio=5.0,
    concentration=1.5,
    dtype=jnp.float64,
):
    values = (return_rate, tax, elasticity, adjustment, wealth_income_ratio, concentration)
    return sv.Saving(*(jnp.asarray(x, dtype) for x in values))


def config_of(saving, **sections):
    given = {
        "population": {"cohorts": COHORTS, "shares": SHARES},
        "schedule": {"brackets": "three"},
        "precision": "float64",
    }
    return load_config(given | {"dynamics": {"saving": {"enabled": True} | saving}} | sections)


# --- kernels --------------------------------------------------------------------------------------


@pytest.mark.parametrize("elasticity", [0.05, 0.5, 1.0, 5.0])
@pytest.mark.parametrize("tax", [0.0, 0.3, 0.9])
def test_desired_wealth_is_optimal(tax, elasticity):
    with jax.enable_x64(True):
        saving, untaxed = of(tax=tax, elasticity=elasticity), jnp.asarray([2e3, 3e5])
        wanted = np.asarray(sv.desired_wealth(saving, untaxed))
        for k0, k in zip(np.asarray(untaxed), wanted, strict=True):

            def loss(x, k0=k0):
                cost = 0.05 * k0 / (1 + 1 / elasticity) * (x / k0) ** (1 + 1 / elasticity)
                return -((1 - tax) * 0.05 * x - cost) / k0

            best = optimize.minimize_scalar(
                loss, bounds=(0, 1.2 * k0), method="bounded", options={"xatol": 1e-8 * k0}
            )
            assert k == pytest.approx(best.x, rel=2e-4)
            adds = sv.endowment(saving, jnp.asarray([k]), jnp.asarray([k0]))
            assert float(adds.worth[0]) == pytest.approx(-best.fun * k0, rel=1e-9)
            # its worth in closed form, and its cost as the integral of what each dollar costs
            assert float(adds.worth[0]) == pytest.approx(
                0.05 * k0 * (1 - tax) ** (1 + elasticity) / (1 + elasticity), rel=1e-12
            )
            cost, _ = integrate.quad(lambda x, k0=k0: 0.05 * (x / k0) ** (1 / elasticity), 0, k)
            assert float(adds.thrift[0]) == pytest.approx(cost, rel=1e-6)


@pytest.mark.parametrize("discounting", [0.02, 0.2])
def test_desired_wealth_is_the_limit_of_a_patient_savers(discounting):
    """The infinite-horizon saver of Saez and Stantcheva with wealth in the utility, by value
    iteration on a grid.
    """
    r, tax, e, k0 = 0.05, 0.4, 0.5, 100.0
    grid = np.linspace(1, 130, 800)
    likes = discounting * grid - r * k0 / (1 + 1 / e) * (grid / k0) ** (1 + 1 / e)
    flow = r * (1 - tax) * grid + likes
    value = np.zeros_like(grid)
    for _ in range(6000 if discounting < 0.1 else 400):
        choice = value / (1 + discounting) - grid  # of next year's wealth, whatever this year's is
        value = flow + grid + choice.max()
    saving = of(r, tax, e, dtype=jnp.float32)
    wanted = float(sv.desired_wealth(saving, jnp.float32(k0)))
    assert grid[choice.argmax()] == pytest.approx(wanted, abs=2 * (grid[1] - grid[0]))


def test_wealth_before_taxes():
    skill, weight = jnp.asarray([100.0, 400.0, 2000.0]), jnp.asarray([1.0, 1.5, 0.5])
    k0 = np.asarray(sv.untaxed_wealth(of(dtype=jnp.float32), skill, weight, 60_000.0), float)
    assert np.average(k0, weights=weight) == pytest.approx(300_000, rel=1e-5)
    np.testing.assert_allclose(k0[1:] / k0[0], np.array([4.0, 20.0]) ** 1.5, rtol=1e-5)


def test_nothing_overflows():
    extreme = of(0.5, 1.0, 0.05, 1.0, 100.0, 2.0, dtype=jnp.float32)
    skill = je.gb2_skill(10_000)
    k0 = sv.untaxed_wealth(extreme, skill, jnp.ones_like(skill), 60_000.0)
    held = sv.endowment(extreme, 3 * k0, k0)
    assert np.all(np.isfinite(held.thrift))
    assert np.all(np.asarray(sv.desired_wealth(extreme, k0)) == 0)
    assert np.all(np.asarray(sv.saved(extreme, k0, k0)) == -np.asarray(k0))


@pytest.mark.parametrize("elasticity", [0.25, 0.5, 1.0, 4.0])
def test_the_best_tax_beside_brute_force(elasticity):
    rng = np.random.default_rng(0)
    k0, g, w = rng.pareto(1.5, 300) + 0.1, rng.uniform(0, 2, 300), rng.uniform(0.5, 2, 300)
    g[np.argsort(k0)[150:]] *= 0.5
    g /= np.average(g, weights=w)

    def loss(tax):
        revenue = tax * np.average(k0 * (1 - tax) ** elasticity, weights=w)
        worth = k0 * (1 - tax) ** (1 + elasticity) / (1 + elasticity)
        return -np.average(g * (revenue + worth), weights=w)

    best = optimize.minimize_scalar(
        loss, bounds=(0, 1), method="bounded", options={"xatol": 1e-10}
    ).x
    assert 0.05 < best < 0.9
    assert float(je.optimal_capital_tax(k0, elasticity, g, w)) == pytest.approx(best, abs=1e-5)


def test_no_tax_on_the_wealth_of_those_with_all_the_welfare_weight():
    assert float(je.optimal_capital_tax(np.array([1.0, 3.0]), 0.5, np.array([0.5, 1.5]))) == 0
    assert float(
        je.optimal_capital_tax(np.array([0.0, 3.0]), 0.5, np.array([2.0, 0.0]))
    ) == pytest.approx(1 / 1.5)
    with pytest.raises(ValueError, match=r"elasticity: 0; must be greater than 0"):
        je.optimal_capital_tax(np.ones(2), 0, np.ones(2))
    with pytest.raises(
        ValueError, match=r"wealth: smallest -1\.0, largest 2\.0; at least 0, and somebody's above"
    ):
        je.optimal_capital_tax(np.array([-1.0, 2.0]), 0.5, np.ones(2))


# --- the economy ----------------------------------------------------------------------------------


def test_welfare_is_highest_at_the_best_tax():
    with jax.enable_x64(True):
        best = float(build_economy(config_of({"tax": "optimum"})).dynamics.saving.tax)
        config = config_of({})
        economy, schedule = build_economy(config), first_schedule(config)

        @jax.jit
        def at(tax):
            taxed = dataclasses.replace(economy.dynamics.saving, tax=tax)
            return equilibrium_welfare(
                dataclasses.replace(
                    economy, dynamics=dataclasses.replace(economy.dynamics, saving=taxed)
                ),
                schedule,
            )

        found = optimize.minimize_scalar(
            lambda t: -float(at(t)), bounds=(0, 1), method="bounded", options={"xatol": 1e-9}
        )
        assert best == pytest.approx(found.x, abs=1e-5)
        assert 0.2 < best < 0.9
        assert float(at(best)) > 1.02 * float(at(0.0))


def test_taxes_on_work_and_on_wealth_are_independent():
    with jax.enable_x64(True):
        without = build_economy(config_of({"enabled": False}))
        saving = build_economy(config_of({"tax": 0.4}))
        problems = [leader_problem(e) for e in (without, saving)]
        thresholds = first_schedule(config_of({})).thresholds
        optima = [solve(problem, thresholds) for problem in problems]
        np.testing.assert_allclose(optima[1].schedule.rates, optima[0].schedule.rates, atol=2e-3)
        capital = capital_at_equilibrium(saving)
        adds = np.concatenate(
            [np.asarray(capital.endowment[name].worth) for name in saving.cohorts]
        )
        g = np.concatenate([np.asarray(saving.welfare.weights[name]) for name in saving.cohorts])
        w = np.asarray(problems[1].weights)
        more = np.average(g * adds, weights=w) + float(capital.revenue)
        assert float(optima[1].welfare - optima[0].welfare) == pytest.approx(more, rel=1e-4)
        smooth = [float(problem.smoothed(optima[0].schedule)[0]) for problem in problems]
        assert smooth[1] - smooth[0] == pytest.approx(more, rel=1e-6)
        # announced planners work with the same problem, and the loss of taxes on work is what it
        # was
        knowledge = Knowledge(thresholds, None, (0.0, 1.0), False)
        rates = [announced("saez", e, knowledge).schedule.rates for e in (without, saving)]
        np.testing.assert_allclose(rates[1], rates[0], atol=1e-9)
        lost = [float(appraise(e, optima[0].schedule).deadweight_loss) for e in (without, saving)]
        assert lost[1] == pytest.approx(lost[0], rel=1e-6)


@pytest.mark.parametrize(
    "function", ["inverse_income", "inverse_consumption", "atkinson", "rawlsian"]
)
def test_marginal_weights_are_what_a_dollar_more_does(function):
    with jax.enable_x64(True):
        config = config_of({"tax": 0.4}, welfare={"function": function, "epsilon": 2.0})
        economy, schedule = build_economy(config), first_schedule(config)
        problem = leader_problem(economy)
        outcome = problem.outcome(schedule)
        g = np.asarray(problem.marginal_weights(outcome))
        utility, n = np.asarray(problem.settled_utility(outcome)), len(g)
        step, gained = 1e-3, []
        for agent in range(0, n, 7):
            more = utility + step * (np.arange(n) == agent)
            less = utility - step * (np.arange(n) == agent)
            gained.append(
                float(problem.welfare_of(jnp.asarray(more)) - problem.welfare_of(jnp.asarray(less)))
                / (2 * step)
            )
        gained = np.array(gained) / np.asarray(problem.weights)[::7]
        every = g[::7]
        assert np.all(gained[every == 0] == 0)
        ratio = gained[every > 0] / every[every > 0]
        np.testing.assert_allclose(ratio, ratio.mean() if len(ratio) else 0, rtol=1e-3)


def test_the_reference_is_independent_of_the_tax_on_wealth():
    economies = [
        build_economy(
            config_of(
                {"tax": tax}, welfare={"function": "inverse_consumption"}, precision="float32"
            )
        )
        for tax in (0.0, 0.8)
    ]
    for a, b in zip(
        *(jax.tree.leaves((e.reference, e.reference_welfare, e.welfare)) for e in economies),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
    federal = je.TaxSchedule.us_federal().astype(economies[0].public_spending.dtype)
    gains = [float(welfare_gain(e, equilibrium_welfare(e, federal))) for e in economies]
    assert gains[0] == pytest.approx(0, abs=1e-6)
    assert gains[1] != pytest.approx(0, abs=1e-3)


def test_the_books_balance_and_wealth_is_what_was_saved(tmp_path):
    skills = {"enabled": True, "shock": 0.3, "working_years": 4.0}
    config = config_of(
        {"tax": 0.3, "adjustment": 0.25},
        years=4,
        year={"days": 5},
        budget={"public_spending": 2_000},
        planner={"kind": "in_context", "compared_with": []},
        record={"agents": "every"},
    ).model_dump(mode="json")
    config["dynamics"]["skills"] = skills
    run = je.run(config, out=tmp_path / "run")
    years, rows = run.years, run.agents
    n = sum(cohort["size"] for cohort in COHORTS)
    column = {
        name: rows[name].to_numpy().reshape(4, n)
        for name in rows.column_names
        if name not in ("cohort", "year", "agent")
    }
    year = {name: years[name].to_numpy() for name in years.column_names if name != "leader"}

    def mean(x):
        return np.average(x, axis=1, weights=column["weight"][0])

    wealth = column["wealth"]
    np.testing.assert_allclose(mean(wealth), year["mean_wealth"], rtol=1e-9)
    # heirs inherit
    np.testing.assert_allclose(wealth[1:], wealth[:-1] + column["saving"][:-1], rtol=1e-9)
    np.testing.assert_allclose(year["capital_revenue"], 0.3 * 0.05 * mean(wealth), rtol=1e-9)
    np.testing.assert_allclose(
        year["revenue"], mean(column["tax"]) + year["capital_revenue"], rtol=1e-9
    )
    np.testing.assert_allclose(year["rebate"], year["revenue"] - 2_000, rtol=1e-9)
    spent = mean(column["consumption"] + column["saving"]) + 2_000
    np.testing.assert_allclose(spent, year["mean_income"] + 0.05 * mean(wealth), rtol=1e-9)
    untaxed = wealth[0] * (column["skill"] / column["skill"][0]) ** 1.5
    np.testing.assert_allclose(column["saving"], 0.25 * (untaxed * 0.7**0.5 - wealth), rtol=1e-6)
    assert (column["skill"][1:] != column["skill"][0]).mean() > 0.7
    # utility of those whose hours do not vary from day to day
    fixed = slice(COHORTS[0]["size"], None)
    with compute_context(load_config(config)):
        economy = build_economy(load_config(config))
    c = np.asarray(economy.cohorts["settled"].preferences.disutility_weight)
    thrift = 0.05 * untaxed / 3 * (wealth / untaxed) ** 3
    cost = c * column["hours"][:, fixed] ** 3.5 + thrift[:, fixed]
    expected = (column["consumption"] + column["saving"])[:, fixed] - cost
    np.testing.assert_allclose(column["utility"][:, fixed], expected, rtol=1e-9)
    order = np.argsort(wealth[2])
    share = column["weight"][0][order] / n
    below = np.cumsum(share)
    curve = np.concatenate([[0], np.cumsum(share * wealth[2][order]) / mean(wealth)[2]])
    assert year["gini_wealth"][2] == pytest.approx(
        1 - np.sum(np.diff(np.concatenate([[0], below])) * (curve[1:] + curve[:-1])), rel=1e-9
    )


def test_what_rules_learn_from_is_work_alone(tmp_path):
    """Adaptive workers live the same hours whatever they own: choices tried must not look better
    than those that were not.
    """
    base = {
        "years": 3,
        "year": {"days": 8},
        "population": {"mechanical": 50, "llm": 0},
        "schedule": {"brackets": "flat", "rates": 0.3},
        "planner": {"kind": "fixed", "compared_with": []},
    }
    hours = []
    for name, saving in (("without", {}), ("with", {"enabled": True, "tax": 0.5})):
        run = je.run({**base, "dynamics": {"saving": saving}}, out=tmp_path / name)
        hours.append(run.agents["hours"].to_numpy())
        assert (
            ("wealth" in run.agents.column_names)
            == bool(saving)
            == ("mean_wealth" in run.years.column_names)
        )
    np.testing.assert_array_equal(*hours)


def test_a_reform_is_a_branch(tmp_path):
    base = {
        "years": 5,
        "year": {"days": 2},
        "population": {"mechanical": 30, "llm": 0},
        "planner": {"kind": "fixed", "compared_with": []},
        "dynamics": {"saving": {"enabled": True}},
    }
    je.run(base, out=tmp_path / "run")
    (reform,) = je.branch(
        tmp_path / "run", year=2, out=tmp_path / "reform", overrides=["dynamics.saving.tax=0.5"]
    )
    wealth = reform.years["mean_wealth"].to_numpy()
    wanted = wealth[0] * 0.5**0.5
    np.testing.assert_allclose(
        wealth, wanted + (wealth[0] - wanted) * 0.9 ** np.arange(3), rtol=1e-5
    )
    with pytest.raises(
        UserError,
        match=r"dynamics\.saving\.enabled: True -> False; a branch keeps its run's people",
    ):
        je.branch(
            tmp_path / "run",
            year=2,
            out=tmp_path / "none",
            overrides=["dynamics.saving.enabled=false"],
        )


def test_a_sweep_over_the_tax(tmp_path):
    design = {
        "run": {
            "years": 2,
            "year": {"days": 2},
            "population": {"mechanical": 30, "llm": 0},
            "planner": {"kind": "fixed", "compared_with": []},
            "dynamics": {"saving": {"enabled": True, "adjustment": 1}},
        },
        "grid": {"dynamics.saving.tax": [0.0, 0.5, "optimum"]},
    }
    swept = je.sweep(design, out=tmp_path / "sweep")
    rates = swept.points["capital_tax"].to_pylist()
    assert rates[:2] == [0.0, 0.5]
    gains = swept.points["gain_equilibrium"].to_pylist()
    assert gains[2] > max(gains[:2])
    run = je.run(load_config(design["run"], ["dynamics.saving.tax=optimum"]), out=tmp_path / "run")
    for name in (
        "swf",
        "swf_equilibrium",
        "gini_consumption",
        *(f for f in run.years.column_names if "wealth" in f or "capital" in f),
    ):
        assert swept.points[name].to_pylist()[2] == pytest.approx(
            run.years[name].to_pylist()[-1], rel=3e-5
        )
    assert "mean_wealth_mean" in swept.summary(["mean_wealth"])[0]
    plain = je.sweep(
        {
            **design,
            "run": {**design["run"], "dynamics": {}},
            "grid": {"budget.public_spending": [0]},
        },
        out=tmp_path / "plain",
    )
    assert "mean_wealth" not in plain.points.column_names
    with pytest.raises(UserError, match=r"--statistics: 'mean_wealth'; no point has wealth"):
        plain.summary(["mean_wealth"])


@pytest.mark.parametrize(
    ("brackets", "rate", "cost"), [("flat", 0.4, 0), ("flat", 0.2, 1_500), ("three", 0.3, 1_500)]
)
def test_elections_among_owners(tmp_path, brackets, rate, cost):
    """Wealth changes neither the rates a candidate would set, nor who stands, nor any vote."""
    base = {
        "years": 4,
        "year": {"days": 2},
        "population": {
            "cohorts": [{"name": "people", "rule": "rational", "size": 6}],
            "sampling": "random",
        },
        "schedule": {"brackets": brackets, "rates": rate},
        "planner": {"kind": "elected", "compared_with": []},
        "elections": {"method": "approval", "noise": 0.0, "cost": cost},
        "precision": "float64",
    }
    runs = [
        je.run({**base, "dynamics": {"saving": saving}}, out=tmp_path / name)
        for name, saving in (("without", {}), ("with", {"enabled": True, "tax": 0.5}))
    ]
    assert runs[0].years["leader"].to_pylist() == runs[1].years["leader"].to_pylist()
    for name in ("year", "agent", "stood", "score", "elected", "tied"):
        assert runs[0].elections[name].to_pylist() == runs[1].elections[name].to_pylist(), name
    assert runs[0].ballots.equals(runs[1].ballots)
    stood = np.array(runs[1].elections["stood"].to_pylist())
    assert stood[:6].sum() > 1
    # a cost is too dear for some, the rich or the poor alike
    assert np.all(stood[:6]) == (cost == 0)
    for name in (f for f in runs[0].years.column_names if f.startswith("rate_")):
        np.testing.assert_allclose(*(run.years[name].to_numpy() for run in runs), atol=2e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["dynamics.saving.tax=1.2"], "dynamics.saving.tax: 1.2; a number or optimum in [0, 1]"),
        (
            ["dynamics.saving.tax=best"],
            "dynamics.saving.tax: 'best'; a number or optimum in [0, 1]",
        ),
        (["dynamics.saving.elasticity=0"], "dynamics.saving.elasticity: 0; a number in [0.05, 5]"),
        (["dynamics.saving.adjustment=0"], "dynamics.saving.adjustment: 0; a number in [1e-06, 1]"),
        (
            ["dynamics.saving.enabled=true", "preferences.consumption_curvature=1"],
            "dynamics.saving.enabled: True; with preferences.consumption_curvature 0, not 1",
        ),
        (
            ["dynamics.saving.tax=optimum", "welfare.function=rawlsian"],
            "dynamics.saving.tax: 'optimum'; for welfare with fixed weights, not rawlsian (give a "
            "number)",
        ),
    ],
)
def test_mistakes_are_one_line(settings, message):
    with pytest.raises(UserError) as said:
        load_config({}, settings)
    assert str(said.value) == message
