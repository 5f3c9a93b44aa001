"""A day and a year: accounts that must balance, and the year against days simulated one by one."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxecon as je
from jaxecon.config.read import load_config
from jaxecon.economy import days as economy_days
from jaxecon.economy import summary as economy_summary
from jaxecon.economy import year as economy_year
from jaxecon.economy.build import build_economy
from jaxecon.economy.days import settle_and_learn, simulate_days
from jaxecon.economy.equilibrium import equilibrium_outcome, leader_problem, welfare_gain
from jaxecon.economy.first_schedule import first_schedule
from jaxecon.economy.precision import compute_context
from jaxecon.economy.state import EconomyState, by_cohort
from jaxecon.kernels.optimum.certified import solve

COHORTS = [
    {"name": rule, "rule": rule, "size": size}
    for rule, size in (
        ("rational", 40),
        ("quantal", 60),
        ("adaptive", 50),
        ("habit", 30),
        ("fixed", 20),
    )
]


def config_of(**sections):
    return load_config({"population": {"cohorts": COHORTS, "shares": {"quantal": 0.5}}, **sections})


initial_state, start_year, summarise_year = (
    jax.jit(economy_year.initial_state),
    jax.jit(economy_year.start_year),
    jax.jit(economy_summary.summarise_year),
)
live_days = jax.jit(simulate_days, static_argnames="days")


def a_year(config, days=10):
    economy, schedule = build_economy(config), first_schedule(config)
    state, plan, sums = start_year(economy, initial_state(economy, schedule), schedule, days)
    return economy, schedule, plan, *live_days(economy, plan, state, sums, days)


CASES = [
    {},
    {"precision": "float64", "budget": {"public_spending": 3000.0}},
    {"preferences": {"consumption_curvature": 1.0}},
    {
        "preferences": {"set": "annualised", "consumption_curvature": 0.5},
        "budget": {"public_spending": 500.0},
    },
]


@pytest.mark.parametrize("sections", CASES)
def test_the_pool_balances_every_day(sections):
    """Revenue per person equals rebate plus spending; income less tax plus rebate is consumption;
    both to rounding.
    """
    config = config_of(**sections)
    with compute_context(config):
        economy, schedule, _, state, sums, record = a_year(config)
        spending = config.budget.public_spending
        np.testing.assert_allclose(record.revenue, record.rebate + spending, rtol=1e-6)
        weights = np.concatenate([np.asarray(w, float) for w in economy.weights.values()])
        taxes = np.concatenate([np.asarray(x, float) for x in sums.tax.values()])
        np.testing.assert_allclose(
            (weights * taxes).sum() / weights.sum() / 10, np.mean(record.revenue), rtol=1e-5
        )
        figures, agents = summarise_year(economy, schedule, state, sums, record)
        for name in economy.cohorts:
            left = (
                np.asarray(agents.income[name])
                - np.asarray(agents.tax[name])
                + float(figures.rebate)
            )
            np.testing.assert_allclose(agents.consumption[name], left, rtol=1e-5, atol=1e-2)
            np.testing.assert_allclose(
                agents.income[name], agents.hours[name] * economy.cohorts[name].skill, rtol=1e-6
            )


def test_rebate_floor_holds():
    config = config_of(budget={"public_spending": 50_000.0, "rebate_floor": -1000.0})
    record = a_year(config)[-1]
    assert np.all(np.asarray(record.rebate) == -1000)


def test_survey_weights_mean_one_and_shares():
    economy = build_economy(config_of())
    weights = {name: np.asarray(w, float) for name, w in economy.weights.items()}
    everybody = np.concatenate(list(weights.values()))
    assert everybody.mean() == pytest.approx(1, rel=1e-6)
    assert weights["quantal"].sum() / everybody.sum() == pytest.approx(0.5, rel=1e-6)
    g = np.concatenate([np.asarray(x, float) for x in economy.welfare.weights.values()])
    assert (g * everybody).sum() / everybody.sum() == pytest.approx(1, rel=1e-5)


def test_reference_is_the_equilibrium_under_us_federal():
    """A cohort of the FACTS population: welfare under US federal, and the best flat tax, to the
    printed digits.
    """
    config = load_config(
        {
            "precision": "float64",
            "population": {"cohorts": [{"name": "a", "rule": "rational", "size": 1000}]},
        }
    )
    with compute_context(config):
        economy = build_economy(config)
        assert float(economy.reference_welfare) == pytest.approx(25306.512, abs=6e-4)
        flat = solve(leader_problem(economy), (0.0,))
        assert float(flat.schedule.rates[0]) == pytest.approx(0.604, abs=6e-4)
        assert 100 * float(welfare_gain(economy, flat.welfare)) == pytest.approx(27.857, abs=6e-4)


def test_rational_workers_realise_the_equilibrium():
    config = load_config(
        {
            "population": {"cohorts": [{"name": "a", "rule": "rational", "size": 500}]},
            "schedule": {"brackets": "three"},
        }
    )
    economy, schedule, _, state, sums, record = a_year(config, days=3)
    figures, agents = summarise_year(economy, schedule, state, sums, record)
    outcome = je.equilibrium(schedule, economy.cohorts["a"].skill, economy.cohorts["a"].preferences)
    np.testing.assert_allclose(agents.hours["a"], outcome.hours, rtol=1e-6)
    np.testing.assert_allclose(agents.utility["a"], outcome.utility, rtol=1e-5, atol=0.1)
    assert float(figures.swf) == pytest.approx(float(figures.swf_equilibrium), rel=1e-6)
    assert float(figures.gini_income) == pytest.approx(float(je.gini(outcome.income)), rel=1e-5)


@pytest.mark.parametrize("curvature", [0.5, 1.0, 2.0])
def test_consumption_equivalent_gain(curvature):
    """Welfare of the reference with everybody's consumption 7 % higher is a gain of 7 %."""
    config = config_of(preferences={"consumption_curvature": curvature})
    with compute_context(config):
        economy = build_economy(config)
        everyone, reference = economy.population, economy.reference
        richer = je.isoelastic_utility(
            everyone.preferences, 1.07 * reference.consumption, reference.hours
        )
        welfare = economy.welfare(by_cohort(economy, richer))
        assert float(welfare_gain(economy, welfare)) == pytest.approx(0.07, abs=1e-8)


def test_a_gain_is_positive_where_welfare_is_higher():
    """Also where public spending makes the reference negative."""
    config = config_of(budget={"public_spending": 60_000.0})
    economy = build_economy(config)
    assert float(economy.reference_welfare) < 0
    for change in (-1000.0, 1000.0):
        assert np.sign(float(welfare_gain(economy, economy.reference_welfare + change))) == np.sign(
            change
        )


def test_a_gain_out_of_reach_is_infinite():
    config = config_of(preferences={"consumption_curvature": 1.0})
    with compute_context(config):
        economy = build_economy(config)
        for welfare in (np.inf, -np.inf, 1e6, -1e6):
            gain = float(welfare_gain(economy, jnp.asarray(welfare)))
            assert gain == np.copysign(np.inf, welfare)
        assert np.isnan(float(welfare_gain(economy, jnp.asarray(np.nan))))


def test_the_reference_knows_the_rebate_floor():
    config = config_of(
        preferences={"consumption_curvature": 1.0},
        budget={"public_spending": 20_000.0, "rebate_floor": 0.0},
    )
    with compute_context(config):
        economy = build_economy(config)
        assert float(economy.reference.rebate) == 0
        assert min(float(c.reference_consumption.min()) for c in economy.cohorts.values()) > 0


def test_curvature_leaves_the_reference_response_unchanged():
    """c_i * x_ref^-eta keeps the trade-off: everybody still works 40 hours under the US federal
    schedule.
    """
    for curvature in (0.5, 1.0, 2.0):
        config = config_of(preferences={"consumption_curvature": curvature})
        with compute_context(config):
            np.testing.assert_allclose(build_economy(config).reference.hours, 40, rtol=1e-6)


def test_scanned_days_equal_days_one_by_one():
    """Compiled as a whole, or as `act` and `settle_and_learn` a day: the same hours exactly, the
    same figures to rounding.
    """
    config = config_of()
    economy, schedule, plan, _, sums, record = a_year(config, days=6)
    one_state = initial_state(economy, schedule)
    one_state, plan, one_sums = start_year(economy, one_state, schedule, 6)
    act, settle = jax.jit(economy_days.act), jax.jit(settle_and_learn)
    welfare = []
    for _ in range(6):
        hours, one_state = act(economy, plan, one_state)
        one_state, one_sums, day, outcomes = settle(economy, plan, one_state, one_sums, hours)
        welfare.append(day.swf_private)
        chex.assert_trees_all_equal({n: o.hours for n, o in outcomes.items()}, hours)
    for name in ("quantal", "adaptive", "fixed"):  # whole hours: sums are exact
        np.testing.assert_array_equal(sums.hours[name], one_sums.hours[name])
    chex.assert_trees_all_close(sums, one_sums, rtol=1e-5, atol=1e-1)
    np.testing.assert_allclose(record.swf_private, jnp.stack(welfare), rtol=1e-6)


def test_another_cohort_does_not_change_draws():
    """Quantal hours depend on the schedule and their own draws alone, whoever else lives there."""
    alone = load_config(
        {"population": {"cohorts": [{"name": "quantal", "rule": "quantal", "size": 60}]}}
    )
    hours = [a_year(config)[4].hours["quantal"] for config in (alone, config_of())]
    np.testing.assert_array_equal(*hours)


def test_a_year_is_traced_once_for_all_schedules_and_seeds():
    chex.clear_trace_counter()
    live = jax.jit(chex.assert_max_traces(simulate_days, n=1), static_argnames="days")
    for seed, rate in ((0, 0.1), (5, 0.7)):
        config = config_of(seed=seed, schedule={"rates": rate})
        economy, schedule = build_economy(config), first_schedule(config)
        state, plan, sums = start_year(economy, initial_state(economy, schedule), schedule, 4)
        live(economy, plan, state, sums, days=4)


def test_many_economies_at_once():
    """vmap over schedules equals a loop."""
    config = config_of()
    economy = build_economy(config)
    rates = jnp.linspace(0.1, 0.8, 3)

    def welfare(rate):
        schedule = je.TaxSchedule(jnp.zeros(1), rate[None])
        state, plan, sums = start_year(economy, initial_state(economy, schedule), schedule, 4)
        return simulate_days(economy, plan, state, sums, 4)[2].swf_private

    batched = jax.jit(jax.vmap(welfare))(rates)
    np.testing.assert_allclose(batched, [jax.jit(welfare)(r) for r in rates], rtol=1e-5)


def test_satisfaction_is_counted_where_it_should_be():
    config = config_of(welfare={"satisfaction": "counted", "penalty": 0.5})
    economy = build_economy(config)
    schedule = first_schedule(config)
    state = initial_state(economy, schedule)
    unhappy = EconomyState(
        state.rules,
        {n: jnp.zeros_like(s) for n, s in state.satisfied.items()},
        state.rebate,
        state.year,
        state.day,
    )
    state, plan, sums = start_year(economy, unhappy, schedule, 3)
    state, sums, record = live_days(economy, plan, state, sums, 3)
    figures, _ = summarise_year(economy, schedule, state, sums, record)
    assert float(figures.satisfied_share) == 0
    assert float(figures.swf) == float(figures.swf_counted)
    np.testing.assert_allclose(record.swf_counted, 0.5 * record.swf_private, rtol=1e-2)
    assert np.all(np.asarray(record.swf_counted) < np.asarray(record.swf_private))


@pytest.mark.parametrize(
    "function", ["rawlsian", "atkinson", "utilitarian", "inverse_consumption", "paper_fixed"]
)
def test_every_welfare_function_runs(function):
    config = config_of(welfare={"function": function})
    economy, schedule, _, state, sums, record = a_year(config, days=3)
    figures, _ = summarise_year(economy, schedule, state, sums, record)
    chex.assert_tree_all_finite(figures)
    outcome = equilibrium_outcome(economy, schedule)
    everyone = economy.population
    u, w = np.asarray(outcome.utility, float), np.asarray(everyone.weight, float)
    expected = {
        "rawlsian": u.min(),
        "atkinson": np.exp((w * np.log(np.maximum(u, 10_000))).sum() / w.sum()),
        "utilitarian": (w * u).sum() / w.sum(),
    }
    if function in expected:
        assert float(figures.swf_equilibrium) == pytest.approx(expected[function], rel=1e-5)
