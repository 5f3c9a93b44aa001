"""Elasticities from behaviour: recovered where they are known, with the errors that an independent
program gives.
"""

from functools import cache

import jax
import numpy as np
import pytest
from oracles import economy
from oracles import saez as oracle

import jaxecon as je

T = economy.THREE_THRESHOLDS
REFORMS = [
    (T, np.array(r))
    for r in ([0.10, 0.25, 0.35], [0.15, 0.30, 0.55], [0.05, 0.40, 0.45], [0.20, 0.22, 0.60])
]
best_response = jax.jit(je.best_response)


def schedules(reforms):
    return [je.TaxSchedule(*r) for r in reforms]


@cache
def calibrated(n=1_000):
    skill = economy.skills(n)
    return skill, je.Preferences.calibrated(skill)


@cache
def exact_incomes():
    skill, preferences = calibrated()
    return np.stack(
        [skill * np.asarray(best_response(s, skill, preferences)) for s in schedules(REFORMS)]
    )


# What is known


def test_the_calibrated_economy_has_an_elasticity_of_0_4():
    found = je.estimate_elasticity(exact_incomes(), schedules(REFORMS))
    assert found.elasticity == pytest.approx(0.4, abs=1e-4)
    assert found.standard_error < 1e-4
    assert 700 < found.agents <= 1_000
    assert found.observations > 2 * found.agents
    assert found.first_stage_f > 100
    assert found.interval == pytest.approx(
        (
            found.elasticity - 1.96 * found.standard_error,
            found.elasticity + 1.96 * found.standard_error,
        )
    )


@pytest.mark.parametrize("exponent", [2.0, 6.0])
def test_other_exponents_have_other_elasticities(exponent):
    skill = economy.skills(1_000)
    preferences = je.Preferences(
        economy.calibrated_weight(skill, exponent), exponent, max_hours=1e6
    )
    incomes = [
        skill * np.asarray(best_response(s, skill, preferences)) for s in schedules(REFORMS[:2])
    ]
    found = je.estimate_elasticity(np.stack(incomes), schedules(REFORMS[:2]))
    assert found.elasticity == pytest.approx(1 / (exponent - 1), abs=1e-4)


def test_bunchers_do_not_respond_and_the_window_leaves_them_out():
    """Incomes a hundredth off a kink, as of bunchers who miss it: within the window, and not to be
    regressed on.
    """
    reforms = [(T, np.array([0.1, 0.5, 0.7])), (T, np.array([0.1, 0.3, 0.5]))]
    untaxed = oracle.midpoints(oracle.lognormal(11.2, 0.8), 1_000)
    z = np.stack([oracle.incomes(untaxed, *r, 0.4) for r in reforms])
    at_kink = np.any(np.abs(z[:, None] / T[1:, None] - 1) < 1e-9, axis=1)
    assert at_kink.mean() > 0.05
    missed = np.where(at_kink, z * np.random.default_rng(0).choice([0.99, 1.01], z.shape), z)
    assert je.estimate_elasticity(missed, schedules(reforms)).elasticity == pytest.approx(
        0.4, abs=1e-9
    )
    assert (
        abs(je.estimate_elasticity(missed, schedules(reforms), kink_window=1e-3).elasticity - 0.4)
        > 0.05
    )


def test_workers_at_the_cap_are_left_out_by_the_mask():
    """Annualised preferences with a cap of 60 hours: one in 25 sits there whatever the rate."""
    skill, preferences = economy.skills(1_000), je.Preferences.annualised(max_hours=60.0)
    hours = np.stack([np.asarray(best_response(s, skill, preferences)) for s in schedules(REFORMS)])
    usable = hours < 59.99
    assert 0.03 < 1 - usable.mean() < 0.2
    masked = je.estimate_elasticity(skill * hours, schedules(REFORMS), usable=usable)
    assert masked.elasticity == pytest.approx(0.4, abs=1e-4)
    unmasked = je.estimate_elasticity(skill * hours, schedules(REFORMS))
    assert unmasked.elasticity < 0.36
    assert unmasked.agents > masked.agents


def test_nan_and_zero_incomes_are_as_good_as_not_usable():
    z, usable = exact_incomes().copy(), np.ones((4, 1_000), bool)
    usable[1, ::7] = usable[2, 3::11] = False
    expected = je.estimate_elasticity(z, schedules(REFORMS), usable=usable)
    z[1, ::7], z[2, 3::11] = np.nan, 0.0
    assert je.estimate_elasticity(z, schedules(REFORMS)) == expected


# Perturbation


def responder(preferences, skill):
    return lambda schedule: skill * np.asarray(best_response(schedule, skill, preferences))


@pytest.mark.parametrize("rates", [[0.2, 0.35, 0.5], [0.6, 0.4, 0.0], [0.05, 1.0, 0.3]])
def test_perturbation_recovers_0_4_in_each_bracket(rates):
    """With falling rates, too, and from rates of 0 and 1, where the step goes one way only."""
    skill, preferences = calibrated()
    found = je.perturbed_elasticities(
        responder(preferences, skill), je.TaxSchedule(T, np.array(rates))
    )
    assert found.elasticity.shape == found.standard_error.shape == found.agents.shape == (3,)
    tells = found.agents >= 2
    assert tells[[0, 2]].all()
    np.testing.assert_allclose(found.elasticity[tells], 0.4, atol=1e-6)
    assert (found.standard_error[tells] < 1e-6).all()


def test_perturbation_counts_only_who_tells():
    skill, preferences = economy.skills(1_000), je.Preferences.annualised(max_hours=60.0)
    schedule = je.TaxSchedule([0.0, 90_000.0, 1e12], [0.2, 0.4, 0.5])
    respond = responder(preferences, skill)
    usable = np.asarray(best_response(schedule, skill, preferences)) < 59
    found = je.perturbed_elasticities(respond, schedule, usable=usable)
    np.testing.assert_allclose(found.elasticity[:2], 0.4, atol=1e-6)
    assert np.isnan(found.elasticity[2])
    assert np.isnan(found.standard_error[2])
    assert found.agents[2] == 0
    z = respond(schedule)
    within = usable & (z < 90_000 * (1 - 1e-5))
    assert within.sum() * 0.97 < found.agents[0] <= within.sum()
    everybody = je.perturbed_elasticities(respond, schedule)
    assert everybody.elasticity[1] < 0.35  # those at the cap do not respond
    wide = je.perturbed_elasticities(respond, schedule, usable=usable, kink_window=0.1)
    assert wide.agents[0] < found.agents[0]
    assert wide.agents[1] < found.agents[1]
    np.testing.assert_allclose(wide.elasticity[:2], 0.4, atol=1e-6)


def test_perturbation_averages_with_weights_and_gives_the_error_of_a_mean():
    """Each agent its own elasticity, responses by hand: z = z0*(1-t)^e_i."""
    rng = np.random.default_rng(3)
    e, z0, w = (
        rng.uniform(0.1, 0.9, 200),
        rng.uniform(20_000, 60_000, 200),
        rng.uniform(0.2, 4, 200),
    )
    schedule = je.TaxSchedule([0.0, 90_000.0], [0.3, 0.5])

    def respond(s):
        return z0 * (1 - float(s.rates[0])) ** e

    plain, weighted = (
        je.perturbed_elasticities(respond, schedule),
        je.perturbed_elasticities(respond, schedule, w),
    )
    assert plain.elasticity[0] == pytest.approx(e.mean(), rel=1e-9)
    assert plain.standard_error[0] == pytest.approx(e.std(ddof=1) / np.sqrt(200), rel=1e-9)
    assert weighted.elasticity[0] == pytest.approx(np.average(e, weights=w), rel=1e-9)
    # the jackknife
    left_out = [np.average(np.delete(e, i), weights=np.delete(w, i)) for i in range(200)]
    assert weighted.standard_error[0] == pytest.approx(np.sqrt(199 * np.var(left_out)), rel=0.02)
    assert plain.agents.tolist() == [200, 0]


@pytest.mark.parametrize("step", [0.0, -0.01, 0.5, float("nan")])
def test_a_bad_step_is_refused(step):
    with pytest.raises(ValueError, match=r"^step: "):
        je.perturbed_elasticities(lambda s: np.ones(3), je.TaxSchedule.flat(0.3), step=step)


# Noise

# Rates that fall with income, or one for all: everybody is within a bracket, so that z =
# z0*(1-t)^0.4 holds for all of them and no window is needed (to leave out bunchers of the later
# year selects on the outcome).
FALLING = [
    (T, np.array(r))
    for r in ([0.5, 0.5, 0.5], [0.65, 0.45, 0.25], [0.4, 0.4, 0.4], [0.6, 0.4, 0.2])
]


def noisy_panel(seed, n, reforms, noise, persistent, common=0.0):
    """Workers whose untaxed income is a random walk (persistent) or independent draws around a
    constant.

    common: by year, what is added to everybody's log income.
    """
    rng = np.random.default_rng(seed)
    shocks = rng.normal(0, noise, (len(reforms), n))
    log = rng.normal(11.5, 0.8, n) + (np.cumsum(shocks, axis=0) if persistent else shocks)
    log = log + np.broadcast_to(common, len(reforms))[:, None]
    return np.stack(
        [
            oracle.incomes(np.exp(row), *reform, 0.4)
            for row, reform in zip(log, reforms, strict=True)
        ]
    )


def test_with_noise_ols_is_biased_and_instruments_are_not():
    """After a reform that taxes high incomes less, a raise lifts workers into lower rates: OLS
    takes it for the response.

    After the opposite reform a raise is taxed more: OLS finds that high rates make people work.
    """
    for reform, direction in ((FALLING[1], 1), ((T, np.array([0.30, 0.35, 0.40])), -1)):
        reforms = [FALLING[0], reform]
        z = noisy_panel(0, 20_000, reforms, 0.3, True)
        ols = ordinary_least_squares(z, reforms)
        found = je.estimate_elasticity(z, schedules(reforms), kink_window=0.0)
        assert found.standard_error < 0.08
        assert direction * (ols - 0.4) > 6 * found.standard_error
        assert abs(found.elasticity - 0.4) < abs(ols - 0.4) / 3
        if direction == 1:  # no bunchers
            assert abs(found.elasticity - 0.4) < 2.5 * found.standard_error


def ordinary_least_squares(z, reforms):
    net = [
        np.log(1 - economy.rate_on_next_dollar(*reform, row))
        for reform, row in zip(reforms, z, strict=True)
    ]
    return np.polyfit(net[1] - net[0], np.log(z[1] / z[0]), 1)[0]


def test_the_control_for_base_income_matters_under_mean_reversion():
    """Independent draws revert: who has a good year falls back, and had rates cut.

    Without the control the response is hidden.
    """
    z = noisy_panel(1, 40_000, FALLING[:2], 0.4, False)
    plain = je.estimate_elasticity(z, schedules(FALLING[:2]), kink_window=0.0)
    controlled = je.estimate_elasticity(
        z, schedules(FALLING[:2]), kink_window=0.0, base_income_control=True
    )
    assert plain.elasticity < 0.4 - 4 * plain.standard_error
    assert abs(controlled.elasticity - 0.4) < 2.5 * controlled.standard_error
    assert abs(controlled.elasticity - 0.4) < 0.3 * abs(plain.elasticity - 0.4)


def test_year_effects_absorb_growth():
    """Everybody's income moves from year to year: without an intercept per pair of years it looks
    like a response.
    """
    z = noisy_panel(2, 3_000, FALLING, 0.05, True, np.log([1.0, 0.7, 1.2, 0.9]))
    plain = je.estimate_elasticity(z, schedules(FALLING), kink_window=0.0)
    effects = je.estimate_elasticity(z, schedules(FALLING), kink_window=0.0, year_effects=True)
    assert abs(effects.elasticity - 0.4) < 3 * effects.standard_error
    assert abs(plain.elasticity - 0.4) > 6 * plain.standard_error


def test_intervals_cover_the_truth_as_often_as_they_say():
    """200 panels of 100 agents over four years, in two classes whose taxes rise and fall for three
    years.

    Each agent has its own growth, so that its errors are correlated: with errors clustered by row
    and not by agent, intervals are too short.
    """
    reforms = [
        (T, np.array([low, 0.3, high]))
        for low, high in zip((0.1, 0.15, 0.2, 0.25), (0.6, 0.5, 0.4, 0.3), strict=True)
    ]
    covered, covered_unclustered, errors, found = 0, 0, [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        level = np.where(np.arange(100) < 50, np.log(40_000), np.log(400_000)) + rng.normal(
            0, 0.1, 100
        )
        growth = rng.normal(0, 0.05, 100) + rng.normal(0, 0.03, (3, 100))
        log = level + np.vstack([np.zeros(100), np.cumsum(growth, axis=0)])
        z = np.stack(
            [
                oracle.incomes(np.exp(row), *reform, 0.4)
                for row, reform in zip(log, reforms, strict=True)
            ]
        )
        estimate = je.estimate_elasticity(z, schedules(reforms))
        assert estimate.observations == 300
        low, high = estimate.interval
        covered += low <= 0.4 <= high
        errors.append(estimate.standard_error)
        found.append(estimate.elasticity)
        y = np.diff(np.log(z), axis=0).ravel()
        net = np.stack(
            [
                np.log(1 - economy.rate_on_next_dollar(*reform, row))
                for reform, row in zip(reforms, z, strict=True)
            ]
        )
        x = np.diff(net, axis=0).ravel()
        centred = x - x.mean()
        residual = y - y.mean() - estimate.elasticity * centred
        by_row = np.sqrt((centred**2 * residual**2).sum()) / (centred**2).sum()
        covered_unclustered += abs(estimate.elasticity - 0.4) <= 1.96 * by_row
    assert 0.90 <= covered / 200 <= 0.99
    assert np.median(errors) == pytest.approx(np.std(found), rel=0.15)
    assert covered_unclustered / 200 < 0.85


# Standard errors against other programs


def expected(rows, weights, base_income_control=False, year_effects=False):
    agent, pair, y, x, instrument, base = rows.T
    exogenous = [pair == t for t in np.unique(pair)] if year_effects else [np.ones_like(y)]
    exogenous = np.column_stack([*exogenous, *([base] if base_income_control else [])]).astype(
        float
    )
    return oracle.two_stage_least_squares(
        y, x, exogenous, instrument, weights[agent.astype(int)], agent
    )


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"base_income_control": True},
        {"year_effects": True},
        {"base_income_control": True, "year_effects": True},
    ],
    ids=["nothing", "base", "years", "both"],
)
def test_two_stage_least_squares_is_the_independent_programs(options, weighted):
    z = noisy_panel(7, 120, REFORMS, 0.2, True)
    usable = np.random.default_rng(8).uniform(size=z.shape) < 0.9
    w = np.random.default_rng(9).uniform(0.2, 5, 120)
    rows = oracle.first_differences(z, REFORMS, 0.03, usable)
    want = expected(rows, w if weighted else np.ones(120), **options)
    got = je.estimate_elasticity(
        z, schedules(REFORMS), w if weighted else None, kink_window=0.03, usable=usable, **options
    )
    assert got.elasticity == pytest.approx(want.beta[0], rel=1e-8)
    assert got.standard_error == pytest.approx(np.sqrt(want.covariance[0, 0]), rel=1e-8)
    assert got.first_stage_f == pytest.approx(want.first_stage_f, rel=1e-8)
    assert (got.observations, got.agents) == (want.observations, want.clusters)
    if not options:
        jackknife = oracle.jackknife_error(rows, w if weighted else np.ones(120))
        assert got.standard_error == pytest.approx(jackknife, rel=0.12)


def test_weights_have_no_scale_and_whole_ones_repeat_people():
    z = noisy_panel(11, 60, REFORMS, 0.1, True)
    copies = np.random.default_rng(12).integers(1, 4, 60)
    weighted = je.estimate_elasticity(z, schedules(REFORMS), copies.astype(float))
    scaled = je.estimate_elasticity(z, schedules(REFORMS), 7.0 * copies)
    repeated = je.estimate_elasticity(np.repeat(z, copies, axis=1), schedules(REFORMS))
    assert weighted.elasticity == pytest.approx(repeated.elasticity, rel=1e-10)
    # copies are not independent people
    assert weighted.standard_error > 1.1 * repeated.standard_error
    assert (scaled.elasticity, scaled.standard_error) == pytest.approx(
        (weighted.elasticity, weighted.standard_error), rel=1e-10
    )
    assert weighted.elasticity != pytest.approx(
        je.estimate_elasticity(z, schedules(REFORMS)).elasticity, rel=1e-3
    )


# Nine people over four years, $/year; GOLDEN from linearmodels on the first differences of these.
PANEL = np.array(
    [
        [23_400, 31_250, 47_900, 61_300, 84_000, 104_500, 131_000, 182_000, 415_000],
        [24_100, 30_100, 49_300, 58_700, 93_200, 101_800, 126_500, 171_000, 361_000],
        [22_800, 33_000, 50_800, 63_900, 81_700, 98_200, 121_400, 152_500, 402_000],
        [25_500, 32_200, 46_100, 60_050, 97_900, 106_700, 133_300, 163_000, 340_500],
    ],
    float,
)
PANEL_WEIGHTS = np.array([1.0, 0.5, 2.0, 1.5, 0.8, 1.2, 0.4, 3.0, 0.6])
# linearmodels 7.1 (NumPy 2.4.6, SciPy 1.17.1): IV2SLS(y, [intercepts, base], x, instrument,
# weights).fit(cov_type="clustered", clusters=agent, debiased=True), debiased being the small-sample
# factor G/(G-1)*(N-1)/(N-K): slope, standard error, and the F statistic of the first stage.
GOLDEN = [
    ({}, False, 0.32109976340497026, 0.09162260837669704, 19.341095607422393),
    ({}, True, 0.2765240298385149, 0.08317095024782933, 12.127743332968832),
    (
        {"base_income_control": True},
        False,
        0.3083581448947159,
        0.08655252898035223,
        17.79935990584832,
    ),
    ({"year_effects": True}, True, 0.5290824826406493, 0.38230245757750037, 1.8639440509977627),
    (
        {"base_income_control": True, "year_effects": True},
        True,
        0.528992887417186,
        0.39294584769222746,
        1.885612757222533,
    ),
]


@pytest.mark.parametrize(("options", "weighted", "slope", "error", "f"), GOLDEN)
def test_published_software_gives_the_same(options, weighted, slope, error, f):
    weights = PANEL_WEIGHTS if weighted else None
    got = je.estimate_elasticity(PANEL, schedules(REFORMS), weights, kink_window=0.0, **options)
    assert (got.observations, got.agents) == (27, 9)
    assert got.elasticity == pytest.approx(slope, rel=1e-8)
    assert got.standard_error == pytest.approx(error, rel=1e-8)
    assert got.first_stage_f == pytest.approx(f, rel=1e-6)


def test_the_first_stage_says_when_the_instrument_is_weak():
    """Incomes that jump so much that nobody's base-year income predicts next year's bracket."""
    reforms = [(T, np.array([0.1, 0.3, 0.5])), (T, np.array([0.1, 0.302, 0.5]))]
    z = noisy_panel(5, 60, reforms, 2.0, False)
    assert je.estimate_elasticity(z, schedules(reforms)).first_stage_f < 10
    assert je.estimate_elasticity(exact_incomes()[:2], schedules(REFORMS[:2])).first_stage_f > 1_000


# Any precision, and what cannot be used


def test_single_precision_incomes_and_schedules():
    """Statistics are in float64; incomes rounded to float32 still tell 0.4."""
    z = exact_incomes().astype(np.float32)
    single = [s.astype(np.float32) for s in schedules(REFORMS)]
    found = je.estimate_elasticity(z, single)
    assert isinstance(found.elasticity, float)
    assert found.elasticity == pytest.approx(0.4, abs=1e-4)
    assert (
        found.observations
        == je.estimate_elasticity(exact_incomes(), schedules(REFORMS)).observations
    )


REFUSED = {
    "one year": ((exact := np.full((1, 5), 5e4)), REFORMS[:1], {}, "income"),
    "no years axis": (exact[0], REFORMS[:1], {}, "income"),
    "three axes": (np.full((2, 5, 1), 5e4), REFORMS[:2], {}, "income"),
    "a schedule too few": (np.full((3, 5), 5e4), REFORMS[:2], {}, "income"),
    "weights too few": (PANEL, REFORMS, {"weights": np.ones(8)}, "weights"),
    "weights too many": (PANEL, REFORMS, {"weights": np.ones(10)}, "weights"),
    "weights below zero": (
        PANEL,
        REFORMS,
        {"weights": np.where(np.arange(9) == 2, -1.0, 1.0)},
        "weights",
    ),
    "mask of another shape": (PANEL, REFORMS, {"usable": np.ones((3, 9), bool)}, "usable"),
    "mask without years": (PANEL, REFORMS, {"usable": np.ones(9, bool)}, "usable"),
    "nobody usable": (PANEL, REFORMS, {"usable": np.zeros((4, 9), bool)}, "income"),
    "one agent": (PANEL[:, :1], REFORMS, {}, "income"),
    "everybody at a kink": (PANEL, REFORMS, {"kink_window": 0.9}, "income"),
    "no reform": (PANEL, [REFORMS[0]] * 4, {}, "schedules"),
    "the same change for all beside an intercept": (
        PANEL[:2],
        [([0.0], [0.2]), ([0.0], [0.4])],
        {},
        "schedules",
    ),
    "flat taxes beside year effects": (
        PANEL,
        [([0.0], [r]) for r in (0.1, 0.4, 0.2, 0.5)],
        {"year_effects": True},
        "schedules",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_panels_are_refused(name):
    income, reforms, arguments, says = REFUSED[name]
    with pytest.raises(ValueError, match=f"^{says}: ") as caught:
        je.estimate_elasticity(income, schedules(reforms), **arguments)
    assert "\n" not in str(caught.value)


def test_flat_taxes_identify_without_year_effects():
    """Different changes in different pairs of years are variation, though each is the same for
    everybody.
    """
    rates = np.array([0.1, 0.4, 0.2, 0.5])
    z = np.linspace(20_000, 200_000, 30) * (1 - rates[:, None]) ** 0.3
    found = je.estimate_elasticity(z, [je.TaxSchedule.flat(r) for r in rates])
    assert found.elasticity == pytest.approx(0.3, abs=1e-9)
