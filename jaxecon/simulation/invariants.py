"""What holds in every run, whatever it simulates; a run that breaks it ends as failed.

The checks are cheap: they look at statistics that a run computes anyway. Each takes one run's
numbers or, along a first axis, those of many (a sweep's).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxecon.config.names import STATUSES
from jaxecon.core.errors import InvariantError
from jaxecon.economy.impossible_hours import ImpossibleHours
from jaxecon.economy.state import Day, Economy
from jaxecon.economy.summary import AgentYear, YearStatistics
from jaxecon.kernels.taxation import TaxSchedule, pooled_mean
from jaxecon.storage.usage import LLMUsage

_OF_WEIGHTS = 1e-3  # of the mean survey weight: rounding, of very many in float32
_SHARES = ("satisfied_share", "gini_income", "gini_consumption", "gini_wealth")
# the largest gain of the baseline over itself that is rounding, by the bytes of a number
_OF_BASELINE = {4: 1e-3, 8: 1e-6}


class Budget(NamedTuple):
    """The budget of an economy, and whether utility is curved.

    public_spending: $/year per person, a scalar or (runs, 1). rebate_floor: $/year, or None.
    curved: whether curvature is above 0: the utility of nothing is then minus infinity.
    """

    public_spending: Any
    rebate_floor: float | None
    curved: bool

    @classmethod
    def of(cls, economy: Economy) -> "Budget":
        """The budget of one economy."""
        cohort = next(iter(economy.cohorts.values()))
        return cls(
            np.asarray(economy.public_spending),
            economy.rebate_floor,
            cohort.preferences.consumption_curvature > 0,
        )

    def unfunded(self, revenue: Any, rebate: Any) -> np.ndarray:
        """What the pool paid beyond what it took in, $/year per person, the shape of revenue.

        Where there is a floor of the rebate, the pool prints what taxes do not pay for. Differences
        that are rounding count as 0.
        """
        short = np.asarray(rebate) + self.public_spending - revenue
        return np.where(short > self._rounding(revenue, rebate), short, 0.0)

    def _rounding(self, revenue: Any, rebate: Any) -> np.ndarray:
        size = np.abs(revenue) + np.abs(rebate) + np.abs(self.public_spending)
        return 64 * np.finfo(np.asarray(self.public_spending).dtype).eps * np.asarray(size)

    def is_unbalanced(self, revenue: Any, rebate: Any, *, are_means: bool) -> np.ndarray:
        """Whether money is lost or made, beyond rounding; the shape of revenue, bool.

        Where revenue or the rebate is no finite number, this is not what is wrong with it.
        are_means: whether these are means of days. With a floor of the rebate, which may bind on
        some of them, their rebate may be more than that of the mean revenue.
        """
        known = np.isfinite(revenue) & np.isfinite(rebate)
        revenue, rebate = np.where(known, revenue, 0), np.where(known, rebate, 0)
        paid, rounding = revenue - self.public_spending, self._rounding(revenue, rebate)
        if self.rebate_floor is not None:
            paid = np.maximum(paid, self.rebate_floor)
        lost, made = rebate < paid - rounding, rebate > paid + rounding
        return known & (lost if are_means and self.rebate_floor is not None else lost | made)


class Violation(NamedTuple):
    """An invariant, and where it is broken.

    where: bool, the shape of the statistics. say: function from an index to what is wrong there.
    """

    where: np.ndarray
    say: Callable[[tuple[int, ...]], str]


def violations(
    statistics: Mapping[str, Any], budget: Budget, *, are_means: bool
) -> Iterator[Violation]:
    """Yield what days or years break: statistics that are no numbers, money lost, shares beyond 1.

    Welfare may be minus infinity with curvature, where somebody has nothing to consume, and a gain
    infinite, where no change of consumption makes up for it.

    Args:
        statistics: by name, all of one shape; None where there are none.
        budget: of the economy.
        are_means: whether they are means over the days of years.
    """
    known = {name: np.asarray(x) for name, x in statistics.items() if x is not None}
    for name, values in known.items():
        allowed = np.isfinite(values)
        if budget.curved and name.startswith(("swf", "utilitarian")):
            allowed |= values == -np.inf
        if budget.curved and name.startswith("gain_"):
            allowed |= np.isinf(values)
        yield Violation(~allowed, _saying(name, values, "must be finite"))
    revenue, rebate = known["revenue"], known["rebate"]

    def balance(at: tuple[int, ...]) -> str:
        spending = np.broadcast_to(budget.public_spending, revenue.shape)[at]
        floor = budget.rebate_floor
        least = "" if floor is None else f" and a floor of {floor:,.2f}"
        return (
            f"the rebate is {rebate[at]:,.2f} with a revenue of {revenue[at]:,.2f} and public "
            f"spending of {spending:,.2f}{least} $/year per person: money is lost or made"
        )

    yield Violation(budget.is_unbalanced(revenue, rebate, are_means=are_means), balance)
    for name in _SHARES:
        if name in known:
            values = known[name]
            wrong = ~((values >= -1e-5) & (values <= 1 + 1e-5))
            yield Violation(wrong, _saying(name, values, "must be in [0, 1]"))


def _saying(name: str, values: np.ndarray, must: str) -> Callable[[tuple[int, ...]], str]:
    return lambda at: f"{name} is {values[at]:g}; {must}"


def check_hours(year: int, first_day: int, economy: Economy, found: ImpossibleHours) -> None:
    """Raise InvariantError where a worker's hours are impossible on a day, or NaN.

    A faulty rule could otherwise spoil the pooled taxes in a run that looks complete.

    Args:
        year: for the message.
        first_day: the first of the days.
        economy: whose cohorts worked.
        found: of the days, (days, cohorts).
    """
    agents = np.atleast_2d(np.asarray(found.agent))
    if not np.any(agents >= 0):
        return
    day, place = np.argwhere(agents >= 0)[0].tolist()
    name, cohort = list(economy.cohorts.items())[place]
    lowest, highest = (
        float(np.atleast_2d(np.asarray(x))[day, place]) for x in (found.lowest, found.highest)
    )
    most = float(np.ravel(np.asarray(cohort.preferences.max_hours))[0])
    worst = highest if lowest >= 0 else lowest
    raise InvariantError(
        f"cohort {name}, agent {agents[day, place]}, year {year}, day {first_day + day}: its rule "
        f"must return hours in [0, {most:g}], and this cohort's go to {worst:g}"
    )


def check_days(
    year: int, first_day: int, economy: Economy, record: Day, impossible: ImpossibleHours
) -> None:
    """Raise InvariantError where days break an invariant.

    Args:
        year, first_day: for the message.
        economy: that was simulated.
        record: statistics of the days, fields (days,).
        impossible: who worked impossible hours, (days, cohorts).
    """
    check_hours(year, first_day, economy, impossible)
    for violation in violations(vars(record), Budget.of(economy), are_means=False):
        if np.any(violation.where):
            at = tuple(np.argwhere(violation.where)[0].tolist())
            raise InvariantError(f"year {year}, day {first_day + at[0]}: {violation.say(at)}")


def check_year(
    year: int,
    days: int,
    economy: Economy,
    schedule: TaxSchedule,
    statistics: YearStatistics,
    agents: AgentYear,
    usage: LLMUsage,
) -> None:
    """Raise InvariantError where a year of so many days breaks an invariant.

    schedule, statistics, agents: of the year. usage: of language models in it.
    """
    check_decisions(usage)
    rates, numbers = np.asarray(schedule.rates), vars(statistics)
    for violation in violations(numbers, Budget.of(economy), are_means=True):
        if np.any(violation.where):
            raise InvariantError(f"year {year}: {violation.say(())}")
    if not np.all((rates >= 0) & (rates <= 1)):
        raise InvariantError(f"year {year}: rates {rates.tolist()}; must be in [0, 1]")
    of_wealth = numbers["capital_revenue"]
    collected = float(pooled_mean(agents.tax, economy.weights))
    collected += 0.0 if of_wealth is None else float(of_wealth)
    revenue, people = float(numbers["revenue"]), sum(c.size for c in economy.cohorts.values())
    eps = float(np.finfo(np.asarray(economy.public_spending).dtype).eps)
    # sums over so many people and days, in different orders
    rounding = eps * (4096 + 16 * people**0.5 + days) * (abs(collected) + abs(revenue))
    if not abs(collected - revenue) <= rounding:
        raise InvariantError(
            f"year {year}: workers paid {collected:,.2f} and the pool received {revenue:,.2f} "
            "$/year per person: money is lost or made"
        )


def unfunded(economy: Economy, statistics: YearStatistics) -> dict[str, float]:
    """The column of years.parquet that says what the pool printed; {} without a rebate's floor."""
    if economy.rebate_floor is None:
        return {}
    return {"unfunded": float(Budget.of(economy).unfunded(statistics.revenue, statistics.rebate))}


def check_decisions(usage: LLMUsage) -> None:
    """Raise InvariantError unless every decision of language models has one known status."""
    known = sum(usage.statuses.get(status, 0) for status in STATUSES)
    if known != usage.decisions or min(usage.statuses.values(), default=0) < 0:
        raise InvariantError(
            f"of {usage.decisions} decisions of language models, {known} are "
            f"{', '.join(STATUSES)}: {dict(usage.statuses)}"
        )


def check_weights(economy: Economy) -> None:
    """Raise InvariantError unless the mean survey weight of everybody is 1, up to rounding."""
    people = sum(cohort.size for cohort in economy.cohorts.values())
    mean = float(sum(jnp.sum(weight) for weight in economy.weights.values())) / people
    if not abs(mean - 1) <= _OF_WEIGHTS:
        raise InvariantError(f"the mean survey weight is {mean:g}; must be 1")


def check_baseline(rows: Sequence[Mapping[str, Any]], economy: Economy) -> None:
    """Raise InvariantError unless US federal gains nothing over itself, up to rounding.

    Not where people save: the tax on wealth is no part of the baseline.

    rows: of policies at equilibrium, as `appraisal.policy_row` returns. economy: of these policies.
    """
    if economy.untaxed_wealth is not None:
        return
    dtype, curved = np.asarray(economy.reference_welfare).dtype, Budget.of(economy).curved
    for row in rows:
        if row["policy"] != "us_federal":
            continue
        # without curvature a gain is a share of welfare, which spending may bring near 0
        money = 0.0 if curved else row["income"] + abs(row["rebate"])
        scale = max(1.0, money / max(abs(row["welfare"]), np.finfo(dtype).tiny))
        allowed = _OF_BASELINE[dtype.itemsize] * scale
        if not abs(row["gain"]) <= allowed:
            raise InvariantError(
                f"the gain of US federal over itself is {100 * row['gain']:g} %; must be 0, up to "
                "rounding"
            )
