"""Saez's formula and two-stage least squares in NumPy and SciPy, float64, written from
docs/economics.md and the papers.

Every algorithm differs from jaxecon's: closed-form distributions and adaptive quadrature instead of
samples, kernel sums over people instead of smoothed bins, projection matrices and a loop over
clusters instead of moments. Nothing here imports jaxecon or JAX.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from oracles import economy
from scipy import stats

TAIL_SHARE = 0.01  # of the people: above their income the hazard is the tail's Pareto parameter


# Distributions in closed form


class GB2(stats.rv_continuous):
    """Income y = mu * B^(1/sigma), B beta prime (McDonald 1984); density by the change of
    variables.
    """

    def _pdf(self, y):
        odds = (y / economy.MU) ** economy.SIGMA
        return stats.betaprime.pdf(odds, economy.NU, economy.TAU) * economy.SIGMA * odds / y

    def _cdf(self, y):
        return stats.betaprime.cdf((y / economy.MU) ** economy.SIGMA, economy.NU, economy.TAU)

    def _sf(self, y):
        return stats.betaprime.sf((y / economy.MU) ** economy.SIGMA, economy.NU, economy.TAU)

    def _ppf(self, p):
        return economy.gb2_quantile(p)

    def _isf(self, p):
        return economy.gb2_quantile(1 - p, p)


def lognormal(mu, sigma):
    return stats.lognorm(s=sigma, scale=np.exp(mu))


def pareto(a, lowest):
    return stats.pareto(a, scale=lowest)


def gb2():
    return GB2(a=0.0, name="gb2")()


def midpoints(distribution, n):
    """The n quantile midpoints, each tail from its own end."""
    i = np.arange(n)
    below, above = (i + 0.5) / n, (n - i - 0.5) / n
    return np.where(
        below <= above,
        distribution.ppf(np.minimum(below, 0.5)),
        distribution.isf(np.minimum(above, 0.5)),
    )


# The formula


@dataclass
class Formula:
    """The formula on a distribution of income ($/year) with welfare weights g(z) and an elasticity
    e(z), by quadrature.

    g need not have mean one: it is divided by its mean. kinks: incomes where g or e is not smooth.
    """

    distribution: object
    g: object
    e: object
    kinks: tuple = ()

    def __post_init__(self):
        self.lowest, self.highest = (
            float(self.distribution.isf(1 - 1e-13)),
            float(self.distribution.isf(1e-18)),
        )
        self.mean_g = self._sum_above(self.g, self.lowest)
        self.start = float(self.distribution.isf(TAIL_SHARE))
        self.tail = self.pareto_above(self.start)

    def _sum_above(self, f, z):
        """The integral of f(x) over people with incomes x above z, by Gauss-Legendre in 60 pieces
        of log income.
        """

        def integrand(log_x):
            x = np.exp(log_x)
            return f(x) * self.distribution.pdf(x) * x

        ends = np.linspace(np.log(max(z, self.lowest)), np.log(self.highest), 61)
        ends = np.sort([*ends, *(np.log(k) for k in self.kinks if k > max(z, self.lowest))])
        return gauss_legendre(integrand, ends, 12)

    def survival(self, z):
        return float(self.distribution.sf(z))

    def hazard(self, z):
        """z*h/(1-H), and the Pareto parameter of the top hundredth above its beginning."""
        return self.tail if z > self.start else self.hazard_without_tail(z)

    def hazard_without_tail(self, z):
        return z * float(self.distribution.pdf(z)) / self.survival(z)

    def weight_above(self, z):
        return self._sum_above(self.g, z) / self.mean_g / self.survival(z)

    def mean_above(self, z):
        return self._sum_above(lambda x: x, z) / self.survival(z)

    def pareto_above(self, z):
        return self.mean_above(z) / (self.mean_above(z) - z)

    def rate(self, z):
        gain = 1 - self.weight_above(z)
        return gain / (gain + self.hazard(z) * self.e(z))

    def bracket_rates(self, thresholds, lowest):
        """Averages of the pointwise rate over each bracket by width (the first from `lowest`); the
        top's own formula.
        """
        out = []
        for low, high in pairwise(thresholds):
            low = max(low, lowest)
            pieces = np.geomspace(low, high, 8)
            ends = np.sort([*pieces, *(x for x in (self.start, *self.kinks) if low < x < high)])
            out.append(
                gauss_legendre(lambda z: np.array([self.rate(x) for x in z]), ends, 10)
                / (high - low)
            )
        gain = 1 - self.weight_above(thresholds[-1])
        return np.array(
            [
                *out,
                gain
                / (
                    gain
                    + self.pareto_above(thresholds[-1]) * self.e(self.mean_above(thresholds[-1]))
                ),
            ]
        )


def gauss_legendre(f, ends, order):
    """The integral of f over the pieces between neighbouring ends."""
    nodes, weights = np.polynomial.legendre.leggauss(order)
    middle, half = (ends[1:] + ends[:-1]) / 2, np.diff(ends) / 2
    return float(
        (
            f((middle[:, None] + half[:, None] * nodes).ravel()) * (half[:, None] * weights).ravel()
        ).sum()
    )


# The formula on a sample, by sums over all people


@dataclass
class SampleFormula:
    """Gaussian kernel sums in log income; under `schedule` (thresholds, rates) the density is the
    virtual one.
    """

    income: np.ndarray
    g: np.ndarray
    weights: np.ndarray
    elasticity: object  # a function of income
    schedule: tuple | None = None
    bandwidth: float | None = None

    def __post_init__(self):
        self.weights = self.weights / self.weights.sum()
        self.g = self.g / (self.g * self.weights).sum()
        earning = self.income > 0
        self.x, self.w = np.log(self.income[earning]), self.weights[earning]
        self.gw = (self.g * self.weights)[earning]
        self.h = self.bandwidth or self._silverman()
        start = self.quantile(self.income, self.weights, 1 - TAIL_SHARE)
        self.start, self.tail = start, self.pareto_above(start)
        if self.schedule is not None:
            self.untaxed = self._untaxed()

    @staticmethod
    def quantile(x, w, p):
        return float(np.quantile(x, p, weights=w, method="inverted_cdf"))

    def _silverman(self):
        sd = np.sqrt(np.cov(self.x, aweights=self.w, ddof=0))
        iqr = self.quantile(self.x, self.w, 0.75) - self.quantile(self.x, self.w, 0.25)
        people = self.w.sum() ** 2 / (self.w**2).sum()
        return float(0.9 * min(sd, iqr / 1.34) * people ** (-1 / 5))

    def pareto_above(self, z):
        above = self.income > z
        if not above.any():
            return np.inf
        mean = np.average(self.income[above], weights=self.weights[above])
        return mean / (mean - z)

    def _untaxed(self):
        """Log income without a tax, one person at a time; who sits at a kink gets a place between
        what either side says.
        """
        thresholds, rates = (np.asarray(a, float) for a in self.schedule)
        out = np.empty_like(self.x)
        bunched = {}
        for i, x in enumerate(self.x):
            z = np.exp(x)
            nearest = int(np.argmin(np.abs(thresholds - z)))
            if nearest > 0 and abs(z / thresholds[nearest] - 1) < 1e-6:
                bunched.setdefault(nearest, []).append(i)
            else:
                rate = float(economy.rate_on_next_dollar(thresholds, rates, z))
                out[i] = x - self.elasticity(z) * np.log(1 - rate)
        for k, people in bunched.items():
            e = self.elasticity(thresholds[k])
            low, high = (np.log(thresholds[k]) - e * np.log(1 - rates[j]) for j in (k - 1, k))
            share = np.cumsum(self.w[people]) - self.w[people] / 2
            out[people] = low + (high - low) * share / self.w[people].sum()
        return out

    def density(self, z):
        """Of log income, at incomes z (m,)."""
        z = np.asarray(z, float)
        if self.schedule is None:
            return np.array(
                [(self.w * stats.norm.pdf(np.log(one), self.x, self.h)).sum() for one in z]
            )
        rate = economy.rate_on_next_dollar(*self.schedule, z)
        at = np.log(z) - np.array([self.elasticity(one) for one in z]) * np.log(1 - rate)
        return np.array([(self.w * stats.norm.pdf(one, self.untaxed, self.h)).sum() for one in at])

    def above(self, z, mass=None):
        mass = self.w if mass is None else mass
        return np.array(
            [
                (mass * stats.norm.sf(np.log(one), self.x, self.h)).sum()
                for one in np.asarray(z, float)
            ]
        )

    def weight_above(self, z):
        return self.above(z, self.gw) / self.above(z)

    def hazard(self, z):
        z = np.asarray(z, float)
        smooth = self.density(z) / self.above(z)
        return np.where((z > self.start) & np.isfinite(self.tail), self.tail, smooth)

    def rates(self, z):
        gain = np.maximum(1 - self.weight_above(z), 0.0)
        e = np.array([self.elasticity(one) for one in np.asarray(z, float)])
        return gain / (gain + self.hazard(z) * e)

    def bracket_rates(self, thresholds, points=600):
        """By the midpoint rule, even in log income, in each bracket; the top by the people above
        its threshold.
        """
        out = []
        lowest, highest = np.exp(self.x.min() - 4 * self.h), np.exp(self.x.max() + 4 * self.h)
        for low, high in zip(thresholds, [*thresholds[1:], highest], strict=True):
            edges = np.geomspace(max(low, lowest), high, points + 1)
            out.append(
                np.average(self.rates(np.sqrt(edges[1:] * edges[:-1])), weights=np.diff(edges))
            )
        above = self.income > thresholds[-1]
        if len(thresholds) > 1 and above.any():
            gain = max(1 - np.average(self.g[above], weights=self.weights[above]), 0.0)
            e = self.elasticity(np.average(self.income[above], weights=self.weights[above]))
            out[-1] = gain / (gain + self.pareto_above(thresholds[-1]) * e)
        return np.array(out)


# Behaviour


def incomes(untaxed, thresholds, rates, e):
    """Of people who would earn `untaxed` without a tax and maximise z - T(z) -
    z0*(z/z0)^(1+1/e)/(1+1/e): in each bracket z0*(1-t)^e or the nearer end; the best bracket of
    all.
    """
    ends = [*thresholds, np.inf]
    best, most = None, None
    for k, rate in enumerate(rates):
        z = np.clip(untaxed * (1 - rate) ** e, ends[k], ends[k + 1])
        value = (
            z
            - economy.tax(thresholds, rates, z)
            - untaxed * (z / untaxed) ** (1 + 1 / e) / (1 + 1 / e)
        )
        best, most = (
            (z, value)
            if most is None
            else (np.where(value > most, z, best), np.maximum(value, most))
        )
    return best


# Regressions


@dataclass
class Regression:
    beta: np.ndarray
    covariance: np.ndarray
    first_stage_f: float
    observations: int
    clusters: int


def first_differences(income, schedules, kink_window, usable=None):
    """Rows (agent, pair of years, y, x, instrument, log base income), one person and one pair at a
    time.
    """

    def near_a_kink(schedule, z):
        return any(abs(z - t) <= kink_window * t for t in schedule[0][1:])

    rows = []
    for i in range(income.shape[1]):
        for t in range(len(income) - 1):
            z, later = income[t, i], income[t + 1, i]
            if usable is not None and not (usable[t, i] and usable[t + 1, i]):
                continue
            if (
                near_a_kink(schedules[t], z)
                or near_a_kink(schedules[t + 1], z)
                or near_a_kink(schedules[t + 1], later)
            ):
                continue
            now, then, predicted = (
                np.log(1 - float(economy.rate_on_next_dollar(*schedule, at)))
                for schedule, at in (
                    (schedules[t], z),
                    (schedules[t + 1], later),
                    (schedules[t + 1], z),
                )
            )
            rows.append((i, t, np.log(later) - np.log(z), then - now, predicted - now, np.log(z)))
    return np.array(rows)


def two_stage_least_squares(y, endogenous, exogenous, instruments, weights, clusters):
    """First the fitted values by the projection on (instruments, exogenous), then least squares on
    them.

    Weighted rows are rows times the root of their weight. The covariance sums outer products
    cluster by cluster, times G/(G-1) * (N-1)/(N-K). The F of the instrument is from the first
    stage's own clustered covariance.
    """
    root = np.sqrt(weights)[:, None]
    x, z = (
        np.column_stack([endogenous, exogenous]) * root,
        np.column_stack([instruments, exogenous]) * root,
    )
    y = y * root[:, 0]
    projection = z @ np.linalg.pinv(z.T @ z) @ z.T
    fitted = projection @ x
    beta = np.linalg.lstsq(fitted, y, rcond=None)[0]
    first = np.linalg.lstsq(z, x[:, 0], rcond=None)[0]
    first_covariance = _clustered(z, x[:, 0] - z @ first, clusters)
    f = first[0] ** 2 / first_covariance[0, 0]
    return Regression(
        beta, _clustered(fitted, y - x @ beta, clusters), f, len(y), len(set(clusters))
    )


def _clustered(x, residual, clusters):
    n, k = x.shape
    bread = np.linalg.inv(x.T @ x)
    meat = np.zeros((k, k))
    groups = sorted(set(clusters))
    for group in groups:
        rows = [i for i, c in enumerate(clusters) if c == group]
        score = sum(x[i] * residual[i] for i in rows)
        meat += np.outer(score, score)
    return bread @ meat @ bread * len(groups) / (len(groups) - 1) * (n - 1) / (n - k)


def jackknife_error(rows, weights):
    """Standard error of the instrumental-variables slope from leaving out one agent at a time (no
    formula for it).
    """
    agents = sorted(set(rows[:, 0]))
    slopes = []
    for left_out in agents:
        kept = rows[:, 0] != left_out
        _, _, y, x, instrument, _ = rows[kept].T
        w = weights[rows[kept, 0].astype(int)]
        centred = instrument - np.average(instrument, weights=w)
        slopes.append((w * centred * y).sum() / (w * centred * x).sum())
    slopes, n = np.array(slopes), len(agents)
    return float(np.sqrt((n - 1) / n * ((slopes - slopes.mean()) ** 2).sum()))
