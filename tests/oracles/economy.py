"""An independent economy in NumPy and SciPy, float64, written from docs/economics.md and not from
jaxecon's code.

Every algorithm differs from jaxecon's: taxes by interpolation on the cumulated tax, best responses
by a grid of hours refined by golden section, quantiles by SciPy's inverse incomplete beta function,
inequality by double sums. Nothing here imports jaxecon or JAX.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import integrate, optimize, special

MU, SIGMA, NU, TAU = 72402.78177917618, 2.0721070746154746, 0.48651871959386955, 1.1410398548220329
US_THRESHOLDS = np.array([0.0, 11_600, 47_150, 100_525, 191_950, 243_725, 609_350])
US_RATES = np.array([10, 12, 22, 24, 32, 35, 37]) / 100
THREE_THRESHOLDS = np.array([0.0, 90_000, 159_100])
D = 3.5
CHOICES = np.array([0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100], float)
_GOLDEN = (np.sqrt(5) - 1) / 2


# Taxes


def tax(thresholds, rates, income):
    """Interpolation on the cumulated tax at the thresholds."""
    thresholds, rates, income = (np.asarray(a, float) for a in (thresholds, rates, income))
    beyond = max(thresholds[-1], income.max(initial=0.0)) + 1.0
    knots = np.append(thresholds, beyond)
    cumulated = np.concatenate([[0.0], np.cumsum(rates * np.diff(knots))])
    return np.interp(income, knots, cumulated)


def rate_on_next_dollar(thresholds, rates, income):
    """By counting, one income at a time."""
    out = []
    for z in np.ravel(income):
        k = sum(1 for t in thresholds if t <= z) - 1
        out.append(rates[max(k, 0)])
    return np.reshape(out, np.shape(income))


def tax_by_integration(thresholds, rates, income):
    """The integral of the marginal rate from 0 to one income, by adaptive quadrature."""
    inside = [t for t in thresholds if 0 < t < income]

    def rate(z):
        return float(rate_on_next_dollar(thresholds, rates, z))

    return integrate.quad(rate, 0.0, income, points=inside or None, limit=200)[0]


# Preferences


def consumption_utility(x, eta):
    x = np.asarray(x, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        if eta == 0:
            return x
        constant = 1 if eta <= 2 else 0
        out = np.log(x) if eta == 1 else (x ** (1 - eta) - constant) / (1 - eta)
    return np.where(x > 0, out, -np.inf)


def utility(x, hours, c, d, eta):
    return consumption_utility(x, eta) - c * np.asarray(hours, float) ** d


def calibrated_weight(skill, d=D):
    """From the first-order condition at 40 hours, s(1-T') = c*d*40^(d-1), T' on the next dollar."""
    wage = skill * (1 - rate_on_next_dollar(US_THRESHOLDS, US_RATES, 40 * skill))
    return wage / (d * 40 ** (d - 1))


# Best response


def _utility_of_hours(thresholds, rates, skill, hours, c, d, eta, rebate):
    income = skill * hours
    return utility(income - tax(thresholds, rates, income) + rebate, hours, c, d, eta)


def _in_dollars(thresholds, rates, skill, hours, c, d, eta, rebate):
    """(u - U(m))/U'(m), m a full-time income: the same order as u, resolved at any curvature."""
    income = skill * hours
    x = income - tax(thresholds, rates, income) + rebate
    return utility_in_dollars(x, hours, c, d, eta, 40 * skill + max(rebate, 0.0))


def utility_in_dollars(x, hours, c, d, eta, m):
    if eta == 0:
        return x - c * hours**d
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.log(x / m)
        gain = log if eta == 1 else np.expm1((1 - eta) * log) / (1 - eta)
    return np.where(x > 0, m * gain - c * hours**d * m**eta, -np.inf)


def best_response(
    thresholds, rates, skill, c, d=D, eta=0.0, rebate=0.0, cap=100.0, points=401, cells=3
):
    """(hours, utility in dollars) of each worker by brute force.

    An even grid of hours, plus the hours at which income crosses a threshold, so that utility is
    concave between neighbours; then golden section in the cells to both sides of the best few grid
    points.
    """
    skill = np.atleast_1d(np.asarray(skill, float))
    n = len(skill)
    c, d, cap = (np.broadcast_to(np.asarray(a, float), (n,)) for a in (c, d, cap))
    kinks = np.asarray(thresholds, float)[None, 1:] / skill[:, None]
    # a kink out of reach becomes some other point: equal points would leave cells of no width
    # beside the peak
    elsewhere = cap[:, None] * (np.arange(kinks.shape[1]) + 0.4567) / (kinks.shape[1] + 1)
    kinks = np.where(kinks < cap[:, None], kinks, elsewhere)
    even = np.linspace(0, 1, points)[None, :] ** 2 * cap[:, None]  # finer near zero
    grid = np.sort(np.concatenate([even, kinks], axis=1), axis=1)

    def value(hours):
        s, cc, dd = (a[:, None] if hours.ndim == 2 else a for a in (skill, c, d))
        return _in_dollars(thresholds, rates, s, hours, cc, dd, eta, rebate)

    on_grid = value(grid)
    at_peak = np.argmax(on_grid, axis=1)
    rows = np.arange(n)
    hours, best = grid[rows, at_peak], on_grid[rows, at_peak]
    peaks = np.where(
        (on_grid >= np.roll(on_grid, 1, 1)) | (on_grid >= np.roll(on_grid, -1, 1)), on_grid, -np.inf
    )
    for candidate in np.argsort(-peaks, axis=1)[:, :cells].T:
        for step in (-1, 1):
            other = np.clip(candidate + step, 0, grid.shape[1] - 1)
            a = np.minimum(grid[rows, candidate], grid[rows, other])
            b = np.maximum(grid[rows, candidate], grid[rows, other])
            for _ in range(60):
                left, right = b - _GOLDEN * (b - a), a + _GOLDEN * (b - a)
                at_left = value(left)
                # where nobody could live (both -inf) more hours come nearer to a living
                go_left = np.isfinite(at_left) & (at_left >= value(right))
                a, b = np.where(go_left, a, left), np.where(go_left, right, b)
            middle = (a + b) / 2
            found = value(middle)
            hours, best = np.where(found > best, middle, hours), np.maximum(found, best)
    return hours, best


def best_response_scipy(thresholds, rates, skill, c, d=D, eta=0.0, rebate=0.0, cap=100.0):
    """(hours, utility in dollars) of one worker: SciPy's bounded minimiser between every pair of
    neighbouring kinks.
    """
    ends = sorted({0.0, cap, *(t / skill for t in thresholds if t / skill < cap)})

    def loss(hours):
        return -float(_in_dollars(thresholds, rates, skill, np.asarray(hours), c, d, eta, rebate))

    found = [(loss(h), h) for h in ends]
    for a, b in pairwise(ends):
        result = optimize.minimize_scalar(
            loss, bounds=(a, b), method="bounded", options={"xatol": 1e-10}
        )
        found.append((result.fun, result.x))
    best = min(found)
    return best[1], -best[0]


def quantal_response(
    thresholds, rates, skill, c, precision, d=D, eta=0.0, rebate=0.0, x_ref=None, cap=100.0
):
    """(n, 11) logit probabilities, one worker at a time, P(h) proportional to exp(precision*u/(40 s
    U'(x_ref))).
    """
    skill = np.atleast_1d(np.asarray(skill, float))
    c, cap = np.broadcast_to(c, skill.shape), np.broadcast_to(cap, skill.shape)
    rows = []
    for i, s in enumerate(skill):
        reference = 40 * s - tax(US_THRESHOLDS, US_RATES, 40 * s) if x_ref is None else x_ref[i]
        u = _utility_of_hours(thresholds, rates, s, CHOICES, c[i], d, eta, rebate)
        # a constant per worker does not change the choice; the best choice keeps exp() in range
        u = np.where(cap[i] >= CHOICES, u, -np.inf)
        odds = np.array(
            [
                np.exp(precision * (v - u.max()) / (40 * s * reference**-eta))
                if np.isfinite(v)
                else 0.0
                for v in u
            ]
        )
        rows.append(odds / odds.sum())
    return np.array(rows)


# Population


def gb2_quantile(below, above=None, mu=MU, sigma=SIGMA, nu=NU, tau=TAU):
    """From the smaller tail by SciPy's inverse regularised incomplete beta function."""
    below = np.asarray(below, float)
    above = 1 - below if above is None else np.asarray(above, float)
    b = special.betaincinv(nu, tau, np.minimum(below, 0.5))
    from_below = b / (1 - b)
    q = special.betaincinv(tau, nu, np.minimum(above, 0.5))
    from_above = (1 - q) / q
    return mu * np.where(below <= above, from_below, from_above) ** (1 / sigma)


def gb2_cdf(y, mu=MU, sigma=SIGMA, nu=NU, tau=TAU):
    odds = (np.asarray(y, float) / mu) ** sigma
    return special.betainc(nu, tau, odds / (1 + odds))


def gb2_mean(mu=MU, sigma=SIGMA, nu=NU, tau=TAU):
    """mu * B(nu + 1/sigma, tau - 1/sigma) / B(nu, tau) (McDonald 1984)."""
    return mu * special.beta(nu + 1 / sigma, tau - 1 / sigma) / special.beta(nu, tau)


def skills(n):
    i = np.arange(n)
    return gb2_quantile((i + 0.5) / n, (n - i - 0.5) / n) / 40


# Welfare


def gini(x, weights=None):
    """The double sum over all pairs."""
    x = np.asarray(x, float)
    w = np.ones_like(x) if weights is None else np.asarray(weights, float)
    w = w / w.sum()
    pairs = w[:, None] * w[None, :] * np.abs(x[:, None] - x[None, :])
    mean = (w * x).sum()
    return 0.0 if mean == 0 else pairs.sum() / (2 * mean)


def welfare_weights(kind, reference, weights=None, floor=10_000.0):
    n = len(reference)
    w = [1.0] * n if weights is None else list(weights)
    if kind == "utilitarian":
        g = [1.0] * n
    elif kind in ("inverse_income", "inverse_consumption"):
        g = [1.0 / max(float(z), floor) for z in reference]
    elif kind == "paper_fixed":
        g = [1.0 / max(float(z), 1.0) for z in reference]
    else:
        raise ValueError(kind)
    mean = sum(a * b for a, b in zip(w, g, strict=True)) / sum(w)
    return np.array([a / mean for a in g])


def social_welfare(u, g, weights=None):
    w = np.ones(len(u)) if weights is None else np.asarray(weights, float)
    return sum(a * b * c for a, b, c in zip(w, g, u, strict=True)) / sum(w)


def paper_welfare(u, income, weights=None):
    w = np.ones(len(u)) if weights is None else weights
    return sum(a * b / max(z, 1.0) for a, b, z in zip(w, u, income, strict=True))


def atkinson(u, epsilon, weights=None, floor=10_000.0):
    """The sum that everyone would need to have for the same welfare, found by root search on sum of
    v(x).
    """
    u = np.maximum(np.asarray(u, float), floor)
    w = np.ones(len(u)) if weights is None else np.asarray(weights, float)
    if u.min() == u.max():
        return float(u.min())
    unit = u.min()

    def v(x):
        return np.log(x / unit) if epsilon == 1 else (x / unit) ** (1 - epsilon) / (1 - epsilon)

    target = np.average(v(u), weights=w)
    return optimize.brentq(
        lambda x: v(x) - target, u.min() * 0.999999, u.max() * 1.000001, xtol=1e-12, rtol=1e-14
    )


# Equilibrium


@dataclass
class Outcome:
    hours: np.ndarray
    income: np.ndarray
    tax: np.ndarray
    rebate: float
    consumption: np.ndarray
    utility: np.ndarray


def settle(thresholds, rates, hours, skill, c, d, eta, weights, spending, floor=None):
    w = np.ones(len(skill)) if weights is None else np.asarray(weights, float)
    income = skill * hours
    t = tax(thresholds, rates, income)
    rebate = float((t * w).sum() / w.sum() - spending)
    if floor is not None:
        rebate = max(rebate, floor)
    x = income - t + rebate
    return Outcome(hours, income, t, rebate, x, utility(x, hours, c, d, eta))


def equilibrium(
    thresholds,
    rates,
    skill,
    c,
    d=D,
    eta=0.0,
    weights=None,
    spending=0.0,
    floor=None,
    cap=100.0,
    points=201,
):
    """Brute-force responses; with eta > 0 Brent's method solves R = mean T(z(R)) - E."""
    skill = np.asarray(skill, float)

    def at(rebate):
        hours, _ = best_response(thresholds, rates, skill, c, d, eta, rebate, cap, points)
        return settle(thresholds, rates, hours, skill, c, d, eta, weights, spending, floor)

    if eta == 0:
        return at(0.0)
    most = tax(thresholds, rates, skill * cap).max()
    low = -spending if floor is None else max(-spending, floor)
    root = optimize.brentq(
        lambda r: at(r).rebate - r, low - 1e-6, most + 1.0, xtol=1e-7, rtol=1e-13
    )
    return at(root)


def hours_of_choices(thresholds, rates, skill, c, choices, d=D, eta=0.0, rebate=0.0, cap=100.0):
    """The best of each worker's own choices, one worker at a time; of equal ones the shortest."""
    hours = []
    for s, weight, own in zip(skill, c, choices, strict=True):
        allowed = [h for h in own if h <= cap]
        worth = [
            float(_in_dollars(thresholds, rates, s, np.asarray(h), weight, d, eta, rebate))
            for h in allowed
        ]
        hours.append(allowed[worth.index(max(worth))])
    return np.array(hours)
