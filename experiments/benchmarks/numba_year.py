"""A year of one mechanical cohort in parallel Numba.

It is the algorithm of jaxecon, written by hand for a CPU.

Curvature 0, everybody satisfied, float32, the same threefry draws (so that both must agree to
rounding), a year's tables made once, each day two passes over the agents (before and after the
pool) in blocks that fit the first-level cache, blocks spread over the cores by numba.prange.
fastmath lets sums be reordered; nothing here relies on NaN or on infinities.
"""

from dataclasses import dataclass

import numba
import numpy as np

BLOCK = 4096  # agents
FIGURES = (
    "swf_private",
    "swf_counted",
    "swf_paper",
    "utilitarian",
    "revenue",
    "rebate",
    "mean_hours",
    "mean_income",
)

_inline = numba.njit(fastmath=True, inline="always")
_parallel = numba.njit(fastmath=True, parallel=True, cache=True)


@dataclass(frozen=True)
class People:
    """(n,) float32 each: skill, disutility weight c, survey weight w, welfare weight g; satisfied:
    bool.

    d: the exponent.
    """

    skill: np.ndarray
    c: np.ndarray
    w: np.ndarray
    g: np.ndarray
    satisfied: np.ndarray
    d: float


@_inline
def _rotated(y, k):
    return np.uint32((y << np.uint32(k)) | (y >> np.uint32(32 - k)))


@_inline
def _four(x, y, a, b, c, d):
    x = np.uint32(x + y)
    y = np.uint32(_rotated(y, a) ^ x)
    x = np.uint32(x + y)
    y = np.uint32(_rotated(y, b) ^ x)
    x = np.uint32(x + y)
    y = np.uint32(_rotated(y, c) ^ x)
    x = np.uint32(x + y)
    y = np.uint32(_rotated(y, d) ^ x)
    return x, y


@_inline
def threefry(k0, k1, first, second):
    """Threefry-2x32 with 20 rounds (Salmon et al. 2011); all uint32."""
    k2 = np.uint32(k0 ^ k1 ^ np.uint32(0x1BD11BDA))
    x, y = np.uint32(first + k0), np.uint32(second + k1)
    x, y = _four(x, y, 13, 15, 26, 6)
    x, y = np.uint32(x + k1), np.uint32(y + k2 + np.uint32(1))
    x, y = _four(x, y, 17, 29, 16, 24)
    x, y = np.uint32(x + k2), np.uint32(y + k0 + np.uint32(2))
    x, y = _four(x, y, 13, 15, 26, 6)
    x, y = np.uint32(x + k0), np.uint32(y + k1 + np.uint32(3))
    x, y = _four(x, y, 17, 29, 16, 24)
    x, y = np.uint32(x + k1), np.uint32(y + k2 + np.uint32(4))
    x, y = _four(x, y, 13, 15, 26, 6)
    return np.uint32(x + k2), np.uint32(y + k0 + np.uint32(5))


@_inline
def _draw(key, start, words, second):
    for i in range(words.size):
        words[i], second[i] = threefry(key[0], key[1], np.uint32(start + i), np.uint32(0))


@_inline
def _tax(thresholds, rates, income, tax):
    tax[:] = 0
    for k in range(rates.size):
        low, rate = thresholds[k], rates[k]
        width = thresholds[k + 1] - low if k + 1 < rates.size else np.float32(np.inf)
        for i in range(income.size):
            tax[i] += rate * min(max(income[i] - low, np.float32(0)), width)


@_parallel
def payoffs(thresholds, rates, skill, c, powers):
    """(11, n): what each choice leaves before the rebate, less its disutility, in full-time
    incomes.
    """
    n = skill.size
    values = np.empty((11, n), np.float32)
    for block in numba.prange((n + BLOCK - 1) // BLOCK):
        start, end = block * BLOCK, min(n, (block + 1) * BLOCK)
        income, tax = np.empty(end - start, np.float32), np.empty(end - start, np.float32)
        for k in range(11):
            for i in range(end - start):
                income[i] = skill[start + i] * np.float32(10 * k)
            _tax(thresholds, rates, income, tax)
            for i in range(end - start):
                earned = income[i] - tax[i] - c[start + i] * powers[k]
                values[k, start + i] = earned / (np.float32(40) * skill[start + i])
    return values


@_parallel
def cumulate(values, precision):
    """(11, n) payoffs into (10, n) cumulated logit probabilities, in place of the first ten."""
    n = values.shape[1]
    for block in numba.prange((n + BLOCK - 1) // BLOCK):
        part = values[:, block * BLOCK : min(n, (block + 1) * BLOCK)]
        most, total = part[0].copy(), np.zeros(part.shape[1], np.float32)
        for k in range(1, 11):
            for i in range(most.size):
                most[i] = max(most[i], part[k, i])
        for k in range(11):
            for i in range(most.size):
                total[i] += np.exp(precision * (part[k, i] - most[i]))
                part[k, i] = total[i]
        for k in range(10):
            for i in range(most.size):
                part[k, i] /= total[i]


@_parallel
def choose_quantal(key, cumulated, hours):
    n = hours.size
    for block in numba.prange((n + BLOCK - 1) // BLOCK):
        start, end = block * BLOCK, min(n, (block + 1) * BLOCK)
        words, second = np.empty(end - start, np.uint32), np.empty(end - start, np.uint32)
        _draw(key, start, words, second)
        u, mine = np.empty(end - start, np.float32), np.zeros(end - start, np.float32)
        for i in range(mine.size):
            u[i] = np.float32(np.int32(words[i] >> np.uint32(8))) * np.float32(2.0**-24)
        for k in range(10):
            edges = cumulated[k, start:end]
            for i in range(mine.size):
                mine[i] = mine[i] + np.float32(10) if u[i] >= edges[i] else mine[i]
        hours[start:end] = mine


@_parallel
def choose_adaptive(key, values, chance, hours):
    n = hours.size
    for block in numba.prange((n + BLOCK - 1) // BLOCK):
        start, end = block * BLOCK, min(n, (block + 1) * BLOCK)
        words, second = np.empty(end - start, np.uint32), np.empty(end - start, np.uint32)
        _draw(key, start, words, second)
        best, most = np.zeros(end - start, np.int32), values[0, start:end].copy()
        for k in range(1, 11):
            row = values[k, start:end]
            for i in range(best.size):
                better = row[i] > most[i]
                best[i] = np.int32(k) if better else best[i]
                most[i] = row[i] if better else most[i]
        for i in range(best.size):
            u = np.float32(np.int32(words[i] >> np.uint32(8))) * np.float32(2.0**-24)
            moved = best[i] + (np.int32(1) if second[i] & np.uint32(1) else np.int32(-1))
            moved = np.int32(1) if moved < 0 else (np.int32(9) if moved > 10 else moved)
            hours[start + i] = np.float32(10) * np.float32(moved if u < chance else best[i])


@_parallel
def pool(thresholds, rates, skill, w, hours, tax):
    """Taxes (n,), and sums over everybody of w times tax, hours and income."""
    n = hours.size
    blocks = (n + BLOCK - 1) // BLOCK
    taxes, worked, earned = 0.0, 0.0, 0.0
    for block in numba.prange(blocks):
        start, end = block * BLOCK, min(n, (block + 1) * BLOCK)
        income = skill[start:end] * hours[start:end]
        _tax(thresholds, rates, income, tax[start:end])
        t, h, z = np.float32(0), np.float32(0), np.float32(0)
        for i in range(income.size):
            weight = w[start + i]
            t += weight * tax[start + i]
            h += weight * hours[start + i]
            z += weight * income[i]
        taxes += t  # type: ignore[assignment]
        worked += h  # type: ignore[assignment]
        earned += z  # type: ignore[assignment]
    return taxes, worked, earned


@_parallel
def settle(people, cost, hours, tax, rebate, penalty, sums, values, recency):
    """Utilities, sums of welfare, the agents' sums, and what is learnt where values has rows.

    cost: (11,) powers of the eleven hours, or (n,) disutility of hours that do not change.
    """
    skill, c, w, g, satisfied = people
    hours_sum, tax_sum, utility_sum = sums
    n, learns, discrete = hours.size, values.shape[0] > 0, cost.size == 11
    private, counted, paper, mean = 0.0, 0.0, 0.0, 0.0
    for block in numba.prange((n + BLOCK - 1) // BLOCK):
        start, end = block * BLOCK, min(n, (block + 1) * BLOCK)
        spent = np.empty(end - start, np.float32)
        if discrete:
            for i in range(start, end):
                spent[i - start] = (
                    c[i] * cost[np.int32(hours[i] * np.float32(0.1) + np.float32(0.5))]
                )
        else:
            spent[:] = cost[start:end]
        a, b, p, m = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
        for i in range(start, end):
            income = skill[i] * hours[i]
            u = income - tax[i] + rebate - spent[i - start]
            felt = u if satisfied[i] else u - (np.float32(1) - penalty) * abs(u)
            a += w[i] * g[i] * u
            b += w[i] * g[i] * felt
            p += w[i] * (u / max(income, np.float32(1)))
            m += w[i] * u
            hours_sum[i] += hours[i]
            tax_sum[i] += tax[i]
            utility_sum[i] += felt
            spent[i - start] = max((u - rebate) / (np.float32(40) * skill[i]), np.float32(-1e6))
        if learns:
            for k in range(11):
                row, here = values[k, start:end], np.float32(10 * k)
                for i in range(spent.size):
                    row[i] += (
                        recency * (spent[i] - row[i]) if hours[start + i] == here else np.float32(0)
                    )
        private += a  # type: ignore[assignment]
        counted += b  # type: ignore[assignment]
        paper += p  # type: ignore[assignment]
        mean += m  # type: ignore[assignment]
    return private, counted, paper, mean


class NumbaYear:
    """One year of `rule` (quantal, adaptive, rational) with its default parameters.

    It starts from the state before the first day.

    thresholds, rates: (k,) of the schedule, which is also the one that adaptive workers start from.
    key: key data (2,) of the cohort's labour draws. The first `days` days of a year of `year` are
    simulated. hours: (n,) of the best response, for rational workers: the same on every day.
    """

    def __init__(
        self,
        people: People,
        thresholds: np.ndarray,
        rates: np.ndarray,
        key: np.ndarray,
        rule: str,
        days: int,
        year: int,
        hours: np.ndarray,
    ) -> None:
        self.people, self.thresholds, self.rates = people, thresholds, rates
        self.key, self.rule, self.days, self.year, self._response = key, rule, days, year, hours
        self._total = float(people.w.sum(dtype=np.float64))
        n = people.skill.size
        self.sums = tuple(np.zeros(n, np.float32) for _ in range(3))  # hours, tax, utility
        self._hours, self._tax = np.zeros(n, np.float32), np.zeros(n, np.float32)
        self._first = (
            payoffs(thresholds, rates, people.skill, people.c, self._powers())
            if rule == "adaptive"
            else None
        )

    def _powers(self) -> np.ndarray:
        return (np.arange(0, 101, 10) ** self.people.d).astype(np.float32)

    def start(self) -> None:
        """The year's tables, and empty sums."""
        people = self.people
        for total in self.sums:
            total[:] = 0
        self._values, self._cost = np.zeros((0, 0), np.float32), self._powers()
        if self.rule == "quantal":
            self._cumulated = payoffs(
                self.thresholds, self.rates, people.skill, people.c, self._cost
            )
            cumulate(self._cumulated, np.float32(20))
        elif self.rule == "adaptive":
            assert self._first is not None
            self._values = self._first.copy()
        else:
            self._hours = self._response
            self._cost = people.c * self._response ** np.float32(people.d)

    def simulate(self) -> dict[str, np.ndarray]:
        """The days' statistics, (days,) float64, under the names of jaxecon.economy.state.Day."""
        people, days, total, hours = self.people, self.days, self._total, self._hours
        record = {name: np.zeros(days) for name in FIGURES}
        of_year = self._fold(self.key, 0)
        arrays = (people.skill, people.c, people.w, people.g, people.satisfied)
        half = np.float32(0.5)
        for day in range(days):
            key = self._fold(of_year, day)
            if self.rule == "quantal":
                choose_quantal(key, self._cumulated, hours)
            elif self.rule == "adaptive":
                ratio = np.float32(0.02) / np.float32(0.4)
                chance = np.float32(0.4) * ratio ** np.float32(day / max(self.year - 1, 1))
                choose_adaptive(key, self._values, chance, hours)
            taxes, worked, earned = pool(
                self.thresholds, self.rates, people.skill, people.w, hours, self._tax
            )
            rebate = taxes / total
            private, counted, paper, mean = settle(
                arrays,
                self._cost,
                hours,
                self._tax,
                np.float32(rebate),
                half,
                self.sums,
                self._values,
                half,
            )
            today = (
                private / total,
                counted / total,
                paper,
                mean / total,
                rebate,
                rebate,
                worked / total,
                earned / total,
            )
            for name, value in zip(FIGURES, today, strict=True):
                record[name][day] = value
        return record

    @staticmethod
    def _fold(key: np.ndarray, number: int) -> np.ndarray:
        return np.array(threefry(key[0], key[1], np.uint32(0), np.uint32(number)), np.uint32)
