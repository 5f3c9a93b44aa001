"""The elasticity of income to the net-of-tax rate, estimated from behaviour.

Statistics in NumPy, float64.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from jaxecon.kernels.taxation import TaxSchedule

Income = np.ndarray


@dataclass(frozen=True)
class ElasticityEstimate:
    """An elasticity of income to the net-of-tax rate, with its reliability.

    Attributes:
        elasticity: no unit.
        standard_error: clustered by agent.
        observations: how many pairs of years it is estimated from.
        agents: how many agents, the clusters.
        first_stage_f: cluster-robust F of the instrument; below 10 the estimate is not to be relied
            on (Staiger and Stock 1997).
    """

    elasticity: float
    standard_error: float
    observations: int
    agents: int
    first_stage_f: float

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval, by the normal approximation."""
        return (
            self.elasticity - 1.96 * self.standard_error,
            self.elasticity + 1.96 * self.standard_error,
        )


def estimate_elasticity(
    income: Sequence[Income] | Income,
    schedules: Sequence[TaxSchedule],
    weights: Income | None = None,
    *,
    kink_window: float = 0.05,
    usable: np.ndarray | None = None,
    base_income_control: bool = False,
    year_effects: bool = False,
) -> ElasticityEstimate:
    """The elasticity of income to the net-of-tax rate, by two-stage least squares.

    First differences over consecutive years (Auten and Carroll 1999; Gruber and Saez 2002):
    regresses the change of log income on the change of the log net-of-tax rate. The latter depends
    on income itself, so its instrument is the change there would have been at the base year's
    income.

    Args:
        income: (years, n) $/year.
        schedules: one per year.
        weights: (n,) survey weights, equal by default.
        kink_window: pairs of years with either income within this share of a threshold are left
            out, as bunchers do not respond to either side's rate.
        usable: (years, n) bool, False for incomes that are to be left out (at the cap of hours,
            say).
        base_income_control: adds log base-year income, against mean reversion.
        year_effects: adds one intercept per pair of years (then only differences in rates between
            people identify the elasticity).

    Returns:
        The elasticity, without unit, with its standard error and the strength of the instrument.

    Raises:
        ValueError: for shapes that do not fit, fewer than two agents, or when no net-of-tax rate
            changes.
    """
    z = np.asarray(income, np.float64)
    w = _checked_weights(z, schedules, weights, usable)
    kept = _usable_years(z, schedules, usable, kink_window)
    pairs = _pairs_of_years(z, schedules, kept)
    _check_identified(pairs, kink_window)
    controls = _controls(pairs, base_income_control, year_effects)
    regressors = np.column_stack([pairs.rate_change, *controls])
    instruments = np.column_stack([pairs.instrument, *controls])
    w = w[pairs.agent]
    beta, variance = _two_stage(pairs.change, regressors, instruments, w, pairs.agent)
    first, first_variance = _two_stage(pairs.rate_change, instruments, instruments, w, pairs.agent)
    f = first[0] ** 2 / first_variance[0, 0] if first_variance[0, 0] > 0 else np.inf
    return ElasticityEstimate(
        float(beta[0]),
        float(np.sqrt(variance[0, 0])),
        len(pairs.change),
        len(np.unique(pairs.agent)),
        float(f),
    )


def _controls(pairs: "_Pairs", base_income: bool, year_effects: bool) -> list[np.ndarray]:
    """Return the regression's controls, one array over all pairs of years each."""
    controls = (
        [(pairs.pair == t).astype(float) for t in np.unique(pairs.pair)]
        if year_effects
        else [np.ones_like(pairs.change)]
    )
    return [*controls, pairs.log_base] if base_income else controls


def _checked_weights(
    z: np.ndarray,
    schedules: Sequence[TaxSchedule],
    weights: Income | None,
    usable: np.ndarray | None,
) -> np.ndarray:
    """The survey weights (n,); raises ValueError where shapes do not fit incomes z (years, n)."""
    if z.ndim != 2 or len(z) != len(schedules) or len(z) < 2:
        raise ValueError(
            f"income: shape {z.shape} for {len(schedules)} schedules; (years, n) with a schedule "
            "for each of >= 2 years"
        )
    n = z.shape[1]
    w = np.ones(n) if weights is None else np.asarray(weights, np.float64)
    if w.shape != (n,) or np.any(w < 0):
        raise ValueError(
            f"weights: shape {w.shape}, smallest {np.min(w):g}; one of at least 0 for each of {n} "
            "agents"
        )
    if usable is not None and np.shape(usable) != z.shape:
        raise ValueError(f"usable: shape {np.shape(usable)}; that of income, {z.shape}")
    return w


def _usable_years(
    z: np.ndarray,
    schedules: Sequence[TaxSchedule],
    usable: np.ndarray | None,
    kink_window: float,
) -> np.ndarray:
    """Which incomes (years, n) are positive and not near kinks of this and next year's schedule."""
    kept = np.ones_like(z, bool) if usable is None else np.asarray(usable, bool)
    kept = kept & (z > 0)
    for year, schedule in enumerate(schedules):
        kept[year] &= _away_from_kinks(schedule, z[year], kink_window)
        if year + 1 < len(z):  # the instrument reads next year's schedule at this year's income
            kept[year] &= _away_from_kinks(schedules[year + 1], z[year], kink_window)
    return kept


class _Pairs(NamedTuple):
    """Observations (m,): an agent in two consecutive years.

    change: of log income. rate_change: of the log net-of-tax rate; instrument: the same at the base
    year's income. log_base: log income in the base year.
    """

    agent: np.ndarray
    pair: np.ndarray
    change: np.ndarray
    rate_change: np.ndarray
    instrument: np.ndarray
    log_base: np.ndarray


def _pairs_of_years(z: np.ndarray, schedules: Sequence[TaxSchedule], kept: np.ndarray) -> _Pairs:
    """All pairs of consecutive years in which an agent's incomes can be used."""
    rows = []
    for t in range(len(z) - 1):
        now, then = _net_of_tax(schedules[t], z[t]), _net_of_tax(schedules[t + 1], z[t + 1])
        predicted = _net_of_tax(schedules[t + 1], z[t])
        good = kept[t] & kept[t + 1] & (now > 0) & (then > 0) & (predicted > 0)
        i = np.flatnonzero(good)
        rows.append(
            _Pairs(
                agent=i,
                pair=np.full(len(i), t),
                change=np.log(z[t + 1, i] / z[t, i]),
                rate_change=np.log(then[i] / now[i]),
                instrument=np.log(predicted[i] / now[i]),
                log_base=np.log(z[t, i]),
            )
        )
    return _Pairs(*(np.concatenate(column) for column in zip(*rows, strict=True)))


def _check_identified(pairs: _Pairs, kink_window: float) -> None:
    """Raise ValueError where the observations cannot identify an elasticity."""
    agents = len(np.unique(pairs.agent))
    if agents < 2:
        raise ValueError(
            f"income: {agents} agents have two usable years in a row; at least 2 (kink_window "
            f"{kink_window:g})"
        )
    if np.ptp(pairs.instrument) < 1e-6:
        raise ValueError(
            "schedules: nobody's net-of-tax rate changes from year to year differently from "
            "another's or at all"
        )


def _two_stage(
    y: np.ndarray,
    regressors: np.ndarray,
    instruments: np.ndarray,
    weights: np.ndarray,
    cluster: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Just-identified weighted instrumental variables with clustered covariance.

    Source: Cameron and Miller (2015).
    """
    weighted = instruments * weights[:, None]
    bread = weighted.T @ regressors
    if np.linalg.matrix_rank(bread) < len(bread):
        raise ValueError(
            "schedules: the changes of rates do not identify an elasticity beside the controls"
        )
    beta = np.linalg.solve(bread, weighted.T @ y)
    scores = weighted * (y - regressors @ beta)[:, None]
    _, index = np.unique(cluster, return_inverse=True)
    clusters = index.max() + 1
    by_cluster = np.column_stack([np.bincount(index, column, clusters) for column in scores.T])
    n, k = regressors.shape
    correction = clusters / (clusters - 1) * (n - 1) / max(n - k, 1)
    inverse = np.linalg.inv(bread)
    return beta, correction * inverse @ (by_cluster.T @ by_cluster) @ inverse.T


@dataclass(frozen=True)
class BracketElasticities:
    """The elasticity in each bracket; NaN where fewer than two agents' incomes can be used.

    Attributes:
        elasticity: (k,) means over agents.
        standard_error: (k,) clustered by agent.
        agents: (k,) how many have incomes that can be used.
    """

    elasticity: np.ndarray
    standard_error: np.ndarray
    agents: np.ndarray


def perturbed_elasticities(
    respond: Callable[[TaxSchedule], Income],
    schedule: TaxSchedule,
    weights: Income | None = None,
    *,
    step: float = 0.01,
    kink_window: float = 0.0,
    usable: np.ndarray | None = None,
) -> BracketElasticities:
    """The elasticity in each bracket, from moving one bracket's rate at a time by +-step.

    An agent's elasticity is the change of its log income over that of log(1 - rate). Only agents
    whose income stays within the bracket count.

    Args:
        respond: function from a schedule to incomes (n,) $/year, of the same people in the same
            order (and with the same draws).
        schedule: the one whose rates are moved, k brackets.
        weights: (n,) survey weights, equal by default.
        step: in (0, 0.5), of a rate.
        kink_window: share of a threshold around which incomes do not count.
        usable: (n,) bool, whose incomes count.

    Returns:
        Elasticities, standard errors and numbers of agents by bracket, (k,) each.

    Raises:
        ValueError: for a step out of (0, 0.5).
    """
    if not 0 < step < 0.5:
        raise ValueError(f"step: {step}; must be in (0, 0.5)")
    thresholds, rates = (np.asarray(x, np.float64) for x in (schedule.thresholds, schedule.rates))
    tops = np.append(thresholds[1:], np.inf)
    results = []
    for k in range(len(rates)):
        low, high = max(rates[k] - step, 0.0), min(rates[k] + step, 0.999)
        incomes = []
        for rate in (low, high):
            moved = rates.copy()
            moved[k] = rate
            rates_now: Any = np.asarray(moved, schedule.rates.dtype)
            changed = TaxSchedule(schedule.thresholds, rates_now)
            incomes.append(np.asarray(respond(changed), np.float64))
        margin = 1 + max(kink_window, 1e-6)  # people at a threshold are not within
        tells = (
            np.ones(len(incomes[0]), bool) if usable is None else np.asarray(usable, bool).copy()
        )
        for z in incomes:
            tells &= (z > thresholds[k] * margin) & (z * margin < tops[k]) & (z > 0)
        before, after = (z[tells] for z in incomes)
        each = np.log(after / before) / np.log((1 - high) / (1 - low))
        w = np.ones(len(each)) if weights is None else np.asarray(weights, np.float64)[tells]
        results.append(_mean_and_error(each, w))
    return BracketElasticities(*(np.asarray(column) for column in zip(*results, strict=True)))


def _mean_and_error(x: np.ndarray, w: np.ndarray) -> tuple[float, float, int]:
    """The weighted mean of x (n,), its standard error, and n."""
    n = len(x)
    if n < 2:
        return np.nan, np.nan, n
    mean = np.average(x, weights=w)
    variance = np.sum((w * (x - mean)) ** 2) / np.sum(w) ** 2 * n / (n - 1)
    return float(mean), float(np.sqrt(variance)), n


def _net_of_tax(schedule: TaxSchedule, income: Income) -> Income:
    """1 - T'(z) of incomes (n,), in float64."""
    bracket = np.searchsorted(np.asarray(schedule.thresholds, np.float64), income, side="right") - 1
    return np.asarray(1 - np.asarray(schedule.rates, np.float64)[np.maximum(bracket, 0)])


def _away_from_kinks(schedule: TaxSchedule, income: Income, window: float) -> np.ndarray:
    """Which incomes (n,) differ from every kink by more than a share `window` of it."""
    kinks = np.asarray(schedule.thresholds, np.float64)[1:, None]
    return np.asarray(np.all(np.abs(income[None, :] - kinks) > window * kinks, axis=0))
