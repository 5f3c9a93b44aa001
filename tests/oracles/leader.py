"""The leader's problem in NumPy and SciPy, float64, written from docs/economics.md and FACTS.md and
not from jaxecon's code.

Exact responses by listing every point that can be best (zero, the cap, each kink, each bracket's
interior optimum where it lies inside) and taking the best; many schedules at once. Interior optima
at curvature > 0 by bisection, the rebate by Brent's method, optima by exhaustion or SciPy. Nothing
here imports jaxecon or JAX.
"""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from oracles import economy
from scipy import optimize, special

_CELLS = 4_000_000  # numbers held at once


@dataclass(frozen=True)
class Problem:
    """Followers, and what the leader makes of their utilities.

    skill, c, g: (n,); w: (n,) survey weights.

    welfare: "weighted" (mean of g*u under w), "rawlsian" or ("atkinson", epsilon). floor: lowest
    rebate, or None.
    """

    skill: np.ndarray
    c: np.ndarray
    g: np.ndarray
    thresholds: np.ndarray
    w: np.ndarray = None
    eta: float = 0.0
    d: float = economy.D
    cap: float = 100.0
    spending: float = 0.0
    floor: float | None = None
    welfare: str | tuple = "weighted"

    def __post_init__(self):
        n = len(self.skill)
        for name in ("skill", "c", "g", "thresholds"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), float))
        object.__setattr__(self, "c", np.broadcast_to(self.c, (n,)))
        object.__setattr__(self, "w", np.ones(n) if self.w is None else np.asarray(self.w, float))

    def but(self, **changes):
        return replace(self, **changes)


@dataclass
class Outcome:
    """By schedule (m, n): hours, income, tax, consumption, utility; (m,) rebate and welfare."""

    hours: np.ndarray
    income: np.ndarray
    tax: np.ndarray
    consumption: np.ndarray
    utility: np.ndarray
    rebate: np.ndarray
    welfare: np.ndarray


def amounts(thresholds, income):
    """Income within each bracket, (..., k)."""
    thresholds = np.asarray(thresholds, float)
    return np.clip(
        np.asarray(income)[..., None] - thresholds, 0, np.append(np.diff(thresholds), np.inf)
    )


def tax(thresholds, rates, income):
    """(m, ...) of rates (m, k) and income (m, ...)."""
    rates = np.asarray(rates, float)
    return (
        amounts(thresholds, income) * rates.reshape(len(rates), *(1,) * (np.ndim(income) - 1), -1)
    ).sum(-1)


def responses(problem, rates, rebate=0.0):
    """Best hours (m, n) under schedules of rates (m, k), when a rebate (at curvature > 0) is
    expected.
    """
    p, rates = problem, np.atleast_2d(np.asarray(rates, float))
    low = np.minimum(p.thresholds[:, None] / p.skill, p.cap)  # (k, n)
    high = np.append(low[1:], np.full((1, len(p.skill)), p.cap), 0)
    net = 1 - rates[:, :, None]  # (m, k, 1)
    inside = (
        (p.skill * net / (p.c * p.d)) ** (1 / (p.d - 1))
        if p.eta == 0
        else _interior(p, rates, low, high, rebate)
    )
    inside = np.where((inside > low) & (inside < high), inside, 0.0)
    corners = np.broadcast_to(
        np.append(low, high[-1:], 0), (len(rates), len(low) + 1, len(p.skill))
    )
    hours = np.concatenate([corners, inside], axis=1)
    income = hours * p.skill
    if p.eta == 0:
        value = income - tax(p.thresholds, rates, income) - p.c * hours**p.d
    else:
        x = income - tax(p.thresholds, rates, income) + rebate
        value = economy.utility_in_dollars(
            x, hours, p.c, p.d, p.eta, 40 * p.skill + max(rebate, 0.0)
        )
    return np.take_along_axis(hours, value.argmax(1)[:, None], 1)[:, 0]


def _interior(p, rates, low, high, rebate):
    """Where w*x^-eta = c*d*l^(d-1) on each bracket's line, by bisection within the bracket, (m, k,
    n).
    """
    net = p.skill * (1 - rates[:, :, None])
    at_start = tax(p.thresholds, rates, np.broadcast_to(p.thresholds, rates.shape))[:, :, None]
    a, b = (np.broadcast_to(e, net.shape).copy() for e in (low, high))
    for _ in range(55):
        middle = (a + b) / 2
        x = (
            p.thresholds[:, None]
            - at_start
            + rebate
            + net * (middle - p.thresholds[:, None] / p.skill)
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            more = (x <= 0) | (net * x**-p.eta > p.c * p.d * middle ** (p.d - 1))
        a, b = np.where(more, middle, a), np.where(more, b, middle)
    return (a + b) / 2


def settle(problem, rates, hours):
    p, rates = problem, np.atleast_2d(np.asarray(rates, float))
    income = hours * p.skill
    due = tax(p.thresholds, rates, income)
    rebate = due @ p.w / p.w.sum() - p.spending
    x = income - due + rebate[:, None]
    u = economy.utility(x, hours, p.c, p.d, p.eta)
    return Outcome(hours, income, due, x, u, rebate, judge(p, u))


def judge(problem, utility):
    """Welfare (m,) of utilities (m, n)."""
    p = problem
    if p.welfare == "rawlsian":
        return utility.min(-1)
    if p.welfare[0] == "atkinson":
        return np.array([economy.atkinson(u, p.welfare[1], p.w) for u in utility])
    return (utility * p.g) @ p.w / p.w.sum()


def outcome(problem, rates):
    """The followers' equilibrium under schedules of rates (m, k)."""
    p, rates = problem, np.atleast_2d(np.asarray(rates, float))
    if p.eta == 0:
        return settle(p, rates, responses(p, rates))
    return settle(
        p,
        rates,
        np.concatenate([responses(p, r, equilibrium_rebate(p, r)) for r in rates[:, None]]),
    )


def equilibrium_rebate(problem, rates):
    p = problem
    most = float(tax(p.thresholds, rates, p.skill[None] * p.cap).max())

    def excess(rebate):
        return float(settle(p, rates, responses(p, rates, rebate)).rebate[0] - rebate)

    return optimize.brentq(excess, -p.spending - 1e-6, most + 1.0, xtol=1e-8, rtol=1e-14)


def welfare_around_the_rebate(problem, rates, off=1e-3):
    """(low, mixed, high) welfare at curvature > 0.

    Where a worker jumps at the equilibrium's rebate, the pool pays more just below it and less just
    above; the worker is indifferent, and mixes so that the pool pays what was expected.
    """
    rates = np.atleast_2d(np.asarray(rates, float))
    rebate = equilibrium_rebate(problem, rates)
    above, below = (
        settle(problem, rates, responses(problem, rates, rebate + side * off)) for side in (1, -1)
    )
    between = np.clip((rebate - above.rebate) / np.maximum(below.rebate - above.rebate, 1e-9), 0, 1)
    mixed = above.welfare + between * (below.welfare - above.welfare)
    return tuple(
        float(v[0])
        for v in (
            np.minimum(above.welfare, below.welfare),
            mixed,
            np.maximum(above.welfare, below.welfare),
        )
    )


def welfare(problem, rates):
    """(m,) of rates (m, k); -inf where a floor of the rebate is given and taxes cannot pay it."""
    rates = np.atleast_2d(np.asarray(rates, float))
    size = max(1, _CELLS // (len(problem.skill) * (2 * rates.shape[1] + 1) * rates.shape[1]))
    out = []
    for start in range(0, len(rates), size):
        o = outcome(problem, rates[start : start + size])
        out.append(
            o.welfare
            if problem.floor is None
            else np.where(o.rebate >= problem.floor, o.welfare, -np.inf)
        )
    return np.concatenate(out)


# Optima


def neighbours(rates, step=0.01, bounds=(0.0, 1.0)):
    """One rate moved, two, or a run of them together: picked from all ways to move each up, down or
    not.
    """
    moved = []
    for move in product((-1, 0, 1), repeat=len(rates)):
        where = np.flatnonzero(move)
        together = len(where) >= 3 and len(set(move[where[0] : where[-1] + 1])) == 1
        if len(where) in (1, 2) or together:
            moved.append(np.clip(rates + step * np.array(move), *bounds))
    return np.array(moved)


def grid(problem, points, monotone=False):
    """(rates, welfare) of the best of all combinations of the points."""
    every = np.array(list(product(points, repeat=len(problem.thresholds))))
    if monotone:
        every = every[(np.diff(every, axis=1) >= 0).all(1)]
    value = welfare(problem, every)
    return every[value.argmax()], value.max()


def by_differential_evolution(problem, bounds=(0.0, 1.0), seed=0, generations=60):
    """(rates, welfare) by SciPy's differential evolution, finished by Nelder and Mead."""
    k = len(problem.thresholds)
    found = optimize.differential_evolution(
        lambda x: -welfare(problem, x.T), [bounds] * k, rng=seed,
        maxiter=generations, popsize=12, tol=0,
        polish=False, vectorized=True, updating="deferred",
    )  # fmt: skip
    near = optimize.minimize(
        lambda x: -welfare(problem, x)[0], found.x, method="Nelder-Mead", bounds=[bounds] * k,
        options={
            "maxfev": 400,
            "initial_simplex": np.clip(found.x + 0.02 * np.eye(k + 1, k), *bounds),
        },
    )  # fmt: skip
    best = min(found, near, key=lambda r: r.fun)
    return best.x, -best.fun


# What a change of rates changes: the first-order condition


def gb2_skill_density(skill):
    """Of income/40, from the derivative of I(nu, tau; B)."""
    nu, tau, sigma = economy.NU, economy.TAU, economy.SIGMA
    odds = (40 * skill / economy.MU) ** sigma
    b = odds / (1 + odds)
    return b**nu * (1 - b) ** tau / special.beta(nu, tau) * sigma / skill


@dataclass
class Terms:
    """Of the derivative of welfare in each rate, (k,) $/year: mechanical - behavioural - jumps."""

    mechanical: np.ndarray  # mean[(1-g) * income taxed by the bracket]
    # what those inside the bracket, not at its kinks nor the cap, earn less
    behavioural: np.ndarray
    jumps: np.ndarray  # what those lose who jump from above to below a stretch of falling rates
    skills: list  # at which they jump

    @property
    def slope(self):
        return self.mechanical - self.behavioural - self.jumps


def first_order_terms(problem, rates, weight_of_skill, density=gb2_skill_density):
    """Analytic derivative of welfare in each rate at curvature 0 and fixed weights, for a dense
    sorted population.

    weight_of_skill: c as a function of skill; density: of skills. Jumps are found where the
    response of neighbours moves over a threshold that the earlier leaves from inside a bracket, and
    located by Brent's method.
    """
    p, rates = problem, np.asarray(rates, float)
    o = outcome(p, rates)
    hours, income = o.hours[0], o.income[0]
    e = 1 / (p.d - 1)
    share = p.w / p.w.sum()
    mechanical = ((1 - p.g) * share) @ amounts(p.thresholds, income)
    bracket = np.searchsorted(p.thresholds, income, side="right") - 1
    interior = (p.skill * (1 - rates[bracket]) / (p.c * p.d)) ** e
    inside = np.isclose(hours, interior, rtol=1e-9) & (hours < p.cap)
    earned = np.bincount(bracket, np.where(inside, income, 0) * share, len(rates))
    with np.errstate(divide="ignore"):
        behavioural = np.where(earned > 0, rates / (1 - rates) * e * earned, 0.0)

    jumps, at = np.zeros(len(rates)), []
    gap = np.diff(income) > 0.01 * income[1:]
    for i in np.flatnonzero(
        gap & (p.skill[1:] / p.skill[:-1] < 1.01) & (bracket[1:] > bracket[:-1])
    ):
        ends = (income[i], income[i + 1])

        def choices(s, i=i, ends=ends):
            """Hours, and utilities, of the two ways of life for a worker of skill s."""
            c, hours = weight_of_skill(s), []
            for j, z in zip((i, i + 1), ends, strict=True):
                hours.append((s * (1 - rates[bracket[j]]) / (c * p.d)) ** e if inside[j] else z / s)
            hours = np.minimum(hours, p.cap)
            z = s * hours
            return hours, z - economy.tax(p.thresholds, rates, z) - c * hours**p.d

        def better(s, choices=choices):
            return float(np.subtract(*choices(s)[1]))

        low, high = p.skill[i], p.skill[i + 1]
        if better(low) * better(high) > 0:
            continue
        s = optimize.brentq(better, low, high, xtol=1e-13, rtol=1e-14)
        if abs(better(s)) > 1e-6 * s:
            continue  # tastes change here, nobody is indifferent: no rate moves the place
        hours_at, _ = choices(s)
        c, h = weight_of_skill(s), 1e-6 * s
        slope_of_c = (weight_of_skill(s + h) - weight_of_skill(s - h)) / (2 * h)
        lower, upper = amounts(p.thresholds, s * hours_at)
        place_moves = (upper - lower) / (
            (c * p.d / s - slope_of_c) * (hours_at[1] ** p.d - hours_at[0] ** p.d)
        )
        jumps += density(s) * place_moves * ((upper - lower) @ rates)
        at.append(s)
    return Terms(mechanical, behavioural, jumps, at)


# Welfare in terms of consumption


def consumption_equivalent_gain(problem, reference, welfare):
    """By what fraction everybody's consumption in the reference outcome would have to rise, by
    Brent's method.
    """
    p = problem
    x, cost = reference.consumption[0], p.c * reference.hours[0] ** p.d

    def excess(log_factor):
        return (
            float(
                judge(p, (economy.consumption_utility(np.exp(log_factor) * x, p.eta) - cost)[None])[
                    0
                ]
            )
            - welfare
        )

    return np.expm1(optimize.brentq(excess, -3.0, 3.0, xtol=1e-13))


def reference_outcome(problem, thresholds=economy.US_THRESHOLDS, rates=economy.US_RATES):
    """Under the US federal schedule."""
    return outcome(problem.but(thresholds=thresholds), rates)


def standard(kind, n, thresholds, floor=10_000.0, **changes):
    """The economies of FACTS: quantile midpoints, weights inverse to income at the US federal
    response.
    """
    skill = economy.skills(n)
    c = weight_of_skill(kind, skill)
    federal = reference_outcome(Problem(skill, c, np.ones(n), thresholds))
    g = economy.welfare_weights("inverse_income", federal.income[0], floor=floor)
    return Problem(skill, c, g, thresholds, **changes)


def weight_of_skill(kind, skill):
    if kind == "calibrated":
        return economy.calibrated_weight(np.asarray(skill, float))
    return np.zeros_like(np.asarray(skill, float)) + {"annualised": 0.026, "paper": 0.0005}[kind]
