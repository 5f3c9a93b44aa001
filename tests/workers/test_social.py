"""Altruists and adversaries against brute force on the welfare of the whole economy."""

import chex
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from oracles import economy as oracle

# its fixtures make every test of this file strict about numbers
from oracles.strictness import DOUBLE, PROPERTY, SINGLE, precision, strict_numerics  # noqa: F401
from support import labor_cases

import jaxecon as je
from jaxecon.workers.base import Cohort
from jaxecon.workers.social import adversarial_response, altruistic_response, welfare_effect

N = 8
# four brackets, so that one compilation serves
SCHEDULES = {
    "rising": ([0.0, 9_000.0, 60_000.0, 300_000.0], [0.1, 0.25, 0.4, 0.5]),
    **{
        name: labor_cases.SCHEDULES[name]
        for name in ("falling", "seesaw", "nothing", "everything", "confiscated_middle")
    },
    "free_middle": ([0.0, 15_000.0, 70_000.0, 1e9], [0.5, 0.0, 0.5, 0.0]),
}


class People:
    """N workers in NumPy, and the same as a Cohort."""

    def __init__(self, seed, eta=0.0, cap=100.0, welfare_weight=None):
        rng = np.random.default_rng(seed)
        self.skill = np.exp(rng.uniform(np.log(50.0), np.log(1e4), N))
        self.x_ref = 30 * self.skill + 8_000
        self.c = rng.uniform(0.3, 2.0, N) * self.skill / (3.5 * 40**2.5) * self.x_ref**-eta
        self.w = rng.uniform(0.2, 3.0, N)
        self.w /= self.w.mean()
        g = (
            rng.permutation(np.geomspace(0.05, 8.0, N))
            if welfare_weight is None
            else np.asarray(welfare_weight, float)
        )
        self.g = g / np.average(g, weights=self.w)
        self.eta, self.cap = eta, cap

    def cohort(self, dtype=np.float64):
        a = [
            jnp.asarray(x, dtype)
            for x in (self.skill, self.w, self.c, self.x_ref, self.g, self.cap, 3.5)
        ]
        return Cohort(a[0], a[1], je.Preferences(a[2], a[6], self.eta, a[5]), a[3], a[4], "people")

    def grid(self, i, thresholds, points=4001):
        kinks = np.asarray(thresholds) / self.skill[i]
        return np.unique(
            np.concatenate([np.linspace(0, self.cap, points), kinks[kinks < self.cap]])
        )

    def welfare(self, thresholds, rates, hours):
        """Welfare of the whole economy, (m,), of hours (m, N), taxes pooled and returned, at
        curvature 0.
        """
        z = self.skill * hours
        t = oracle.tax(thresholds, rates, z)
        rebate = (t * self.w).sum(-1, keepdims=True) / self.w.sum()
        u = z - t + rebate - self.c * hours**3.5
        return (u * self.g * self.w).sum(-1) / self.w.sum()

    def in_dollars(self, i, welfare):
        """Welfare per full-time income of worker i, from its own point of view."""
        return welfare * self.w.sum() / self.w[i] / (40 * self.skill[i] * (1 + self.g[i]))


def schedule_of(thresholds, rates, dtype=np.float64):
    return je.TaxSchedule(np.asarray(thresholds, dtype), np.asarray(rates, dtype))


def assert_extreme(people, thresholds, rates, dtype, unit):
    """Each one's hours are as good (bad) for welfare as the best (worst) of a grid of hours with
    the others at 35 h.
    """
    schedule, cohort = schedule_of(thresholds, rates, dtype), people.cohort(dtype)
    for respond, sign in ((altruistic_response, 1), (adversarial_response, -1)):
        found = respond(schedule, cohort)
        assert found.dtype == dtype
        found = np.asarray(found, float)
        assert np.all((found >= 0) & (found <= people.cap * (1 + 1e-6)))
        for i in range(N):
            grid = people.grid(i, thresholds)
            hours = np.full((len(grid) + 1, N), 35.0)
            hours[:, i] = np.append(grid, found[i])
            welfare = sign * people.in_dollars(i, people.welfare(thresholds, rates, hours))
            best, got = welfare[:-1].max(), welfare[-1]
            assert got >= best - unit, (
                respond,
                i,
                found[i],
                grid[welfare[:-1].argmax()],
                best - got,
            )
            # the same hours, or a tie
            near = np.abs(grid - found[i]) <= 2 * people.cap / 4000
            assert np.any(welfare[:-1][near] >= best - 1e-5)


@pytest.mark.parametrize("cap", [100.0, 55.0])
@pytest.mark.parametrize("name", SCHEDULES)
def test_responses_are_extremes_of_the_whole_economys_welfare(precision, name, cap):
    for seed in range(3):
        people = People(seed, cap=cap)
        assert people.g.min() < 0.5
        assert people.g.max() > 1.5
        assert_extreme(people, *SCHEDULES[name], precision.dtype, 1e-9 if precision.x64 else 3e-6)


@PROPERTY
@given(
    seed=st.integers(0, 10_000),
    rates=st.lists(st.sampled_from([0.0, 1.0]) | st.floats(0, 1), min_size=4, max_size=4),
    widths=st.lists(st.floats(100.0, 200_000.0), min_size=3, max_size=3),
    weights=st.lists(st.just(0.0) | st.floats(1e-3, 10.0), min_size=N, max_size=N).filter(
        lambda g: sum(g) > 0
    ),
)
def test_responses_are_extremes_of_any_economy(seed, rates, widths, weights):
    assert_extreme(
        People(seed, welfare_weight=weights), np.cumsum([0.0, *widths]), rates, np.float64, 1e-9
    )


@pytest.mark.parametrize("rate", [0.0, 0.35, 1.0])
def test_interior_formula(precision, rate):
    """l = (s((1-t) + t/g)/(c d))^(1/(d-1)), docs/economics.md."""
    people = People(5, cap=168.0)
    hours = altruistic_response(
        schedule_of([0.0], [rate], precision.dtype), people.cohort(precision.dtype)
    )
    formula = (people.skill * ((1 - rate) + rate / people.g) / (people.c * 3.5)) ** (1 / 2.5)
    assert formula.min() < 168
    np.testing.assert_allclose(hours, np.minimum(formula, 168), rtol=precision.rtol)


def test_under_equal_weights_altruists_work_as_if_untaxed(precision):
    people = People(2, welfare_weight=np.ones(N))
    cohort = people.cohort(precision.dtype)
    untaxed = je.best_response(
        schedule_of([0.0], [0.0], precision.dtype), cohort.skill, cohort.preferences
    )
    for thresholds, rates in SCHEDULES.values():
        hours = altruistic_response(schedule_of(thresholds, rates, precision.dtype), cohort)
        np.testing.assert_allclose(hours, untaxed, rtol=10 * precision.rtol)


def test_who_does_not_count_maximises_tax(precision):
    """Rawlsian weights: all but one g are 0.

    They work to the cap wherever more hours pay more tax, without NaN.
    """
    people = People(3, welfare_weight=np.eye(N)[0])
    cohort = people.cohort(precision.dtype)
    for name, (thresholds, rates) in SCHEDULES.items():
        hours = np.asarray(
            altruistic_response(schedule_of(thresholds, rates, precision.dtype), cohort)
        )
        assert np.all(np.isfinite(hours))
        if min(rates) > 0:
            np.testing.assert_array_equal(hours[1:], 100)
        opposite = np.asarray(
            adversarial_response(schedule_of(thresholds, rates, precision.dtype), cohort)
        )
        if name == "rising":  # no tax is the least
            np.testing.assert_array_equal(opposite[1:], 0)
    untaxed = je.best_response(
        schedule_of([0.0], [0.0], precision.dtype), cohort.skill, cohort.preferences
    )
    unmoved = altruistic_response(schedule_of(*SCHEDULES["nothing"], precision.dtype), cohort)
    np.testing.assert_allclose(unmoved, untaxed, rtol=precision.rtol)
    # beyond the last tax all hours are worth the same to the others
    thresholds, rates = [0.0, 1_000.0, 2_000.0, 3_000.0], [0.5, 0, 0, 0]
    taxed = np.asarray(
        altruistic_response(schedule_of(thresholds, rates, precision.dtype), cohort), float
    )
    np.testing.assert_allclose(
        oracle.tax(thresholds, rates, taxed * people.skill)[1:], 500, rtol=precision.rtol
    )


def effect(people, i, thresholds, rates, hours, rebate):
    """The first-order effect on welfare in $/year: g/U'(x_ref) times own utility, plus tax; from U
    at x_ref.
    """
    z = people.skill[i] * hours
    t = oracle.tax(thresholds, rates, z)
    own = oracle.utility_in_dollars(
        z - t + rebate, hours, people.c[i], 3.5, people.eta, people.x_ref[i]
    )
    return people.g[i] * own + t


@pytest.mark.parametrize("rebate", [12_000.0, 0.0, -1_500.0])
@pytest.mark.parametrize(
    ("precision", "eta"),
    [
        (DOUBLE, 0.5),
        (DOUBLE, 1.0),
        (DOUBLE, 2.0),
        (SINGLE, 0.5),
        (SINGLE, 1.0),
    ],  # above 1 config.py takes float64
    indirect=["precision"],
    ids=["float64-0.5", "float64-1", "float64-2", "float32-0.5", "float32-1"],
)
def test_income_effects(precision, eta, rebate):
    """With curvature the responses are the extremes of the first-order effect on a fine grid of
    hours.
    """
    unit = 1e-9 if precision.x64 else 3e-6
    for thresholds, rates in SCHEDULES.values():
        people = People(7, eta=eta)
        schedule, cohort = (
            schedule_of(thresholds, rates, precision.dtype),
            people.cohort(precision.dtype),
        )
        for respond, sign in ((altruistic_response, 1), (adversarial_response, -1)):
            found = np.asarray(respond(schedule, cohort, rebate), float)
            assert np.all((found >= 0) & (found <= 100 * (1 + 1e-6)))
            for i in range(N):
                scale = 40 * people.skill[i] * (1 + people.g[i])
                value = (
                    sign
                    * effect(people, i, thresholds, rates, people.grid(i, thresholds), rebate)
                    / scale
                )
                got = (
                    sign * effect(people, i, thresholds, rates, found[i : i + 1], rebate)[0] / scale
                )
                assert got >= value.max() - unit, (respond, i, found[i], rates)


@pytest.mark.parametrize(("eta", "exponent"), [(0.1, 1.2), (4.0, 1.2), (1.0, 8.0), (4.0, 8.0)])
def test_income_effects_at_odd_preferences(eta, exponent):
    """The first-order condition holds where the optimum is interior, whatever the curvature of work
    and consumption.
    """
    rng = np.random.default_rng(1)
    n = 500
    skill, g = np.exp(rng.uniform(np.log(20.0), np.log(2e4), n)), np.exp(rng.normal(0, 2, n))
    x_ref = 40 * skill
    c = rng.uniform(0.01, 10, n) * skill * 40 ** (1 - exponent) / exponent * x_ref**-eta
    for rate in (0.0, 0.4, 0.99, 1.0):
        for rebate in (20_000.0, 10.0, -300.0):
            people = Cohort(
                *(jnp.asarray(a) for a in (skill, np.ones(n))),
                je.Preferences(c, exponent, eta),
                *map(jnp.asarray, (x_ref, g)),
            )
            hours = np.asarray(altruistic_response(schedule_of([0.0], [rate]), people, rebate))
            x = skill * (1 - rate) * hours + rebate
            inside = (hours > 0) & (x > 0)
            gain = skill * ((1 - rate) * (np.where(inside, x, 1) / x_ref) ** -eta + rate / g)
            cost = c * x_ref**eta * exponent * hours ** (exponent - 1)
            capped = hours == 100
            assert np.all(gain[capped & inside] >= cost[capped & inside])
            inside &= ~capped
            # in x, next to a rebate that is owed
            digits_lost = 1 + eta * skill * hours / np.where(inside, x, 1)
            residual = np.where(
                inside, np.abs(gain / np.where(inside, cost, 1) - 1) / digits_lost, 0
            )
            assert residual.max() < 1e-12 * exponent


def test_welfare_effect_is_the_change_of_welfare():
    """Differences of W between hours are those of the whole economy's welfare, times people per
    worker.
    """
    people = People(4)
    thresholds, rates = SCHEDULES["seesaw"]
    cohort, schedule = people.cohort(), schedule_of(thresholds, rates)
    a, b = (
        welfare_effect(schedule, cohort, jnp.full(N, 20.0)),
        welfare_effect(schedule, cohort, jnp.full(N, 50.0)),
    )
    hours = np.tile(np.full(N, 35.0), (2, N, 1))
    hours[0, range(N), range(N)], hours[1, range(N), range(N)] = 20, 50
    change = np.diff(people.welfare(thresholds, rates, hours), axis=0)[0]
    np.testing.assert_allclose((b - a) * people.w / people.w.sum(), change, rtol=1e-9)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_compiled_or_not_and_many_schedules_at_once(eta):
    cohort = People(6, eta=eta).cohort()
    schedules = [schedule_of(*s) for s in SCHEDULES.values()]
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *schedules)
    for respond in (altruistic_response, adversarial_response):
        one_by_one = [respond(s, cohort, 5_000.0) for s in schedules]
        batched = jax.vmap(respond, in_axes=(0, None, None))(batch, cohort, 5_000.0)
        np.testing.assert_allclose(batched, one_by_one, rtol=1e-12)
        with jax.disable_jit():
            np.testing.assert_allclose(
                respond(schedules[2], cohort, 5_000.0), one_by_one[2], rtol=1e-12
            )


def test_traced_once():
    chex.clear_trace_counter()
    respond = jax.jit(chex.assert_max_traces(altruistic_response.__wrapped__, n=1))
    for seed, (thresholds, rates) in enumerate(SCHEDULES.values()):
        respond(schedule_of(thresholds, rates), People(seed).cohort(), 1.0 * seed)
