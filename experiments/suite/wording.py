"""How tables and figures name a statistic and write its numbers."""

import math
from typing import NamedTuple


class Statistic(NamedTuple):
    """How a statistic is shown: its name in words, and a factor for its numbers."""

    words: str
    scale: float = 1.0


STATISTICS = {
    "gain_realised": Statistic("gain as simulated, %", 100),
    "gain_equilibrium": Statistic("gain at equilibrium, %", 100),
    "gain_choices": Statistic("gain among choices, %", 100),
    "gain_once_learnt": Statistic("gain at equilibrium, %", 100),
    "gain_best": Statistic("gain of the best schedule, %", 100),
    "gain_elected": Statistic("gain of elected leaders, %", 100),
    "gain_optimum": Statistic("gain of the optimum, %", 100),
    "exploits": Statistic("years in which a majority exploits the others, %", 100),
    "better_off": Statistic("people better off than at the optimum, %", 100),
    "minority_loss": Statistic("what the others lose, % of utility at the optimum", 100),
    "turnover": Statistic("elections that bring another leader, %", 100),
    "turnover_raised": Statistic("turnovers that raise welfare, %", 100),
    "gain_true": Statistic("gain in the whole country, %", 100),
    "gain_bias": Statistic("what the panel adds to it, points", 100),
    "gain_paper": Statistic("gain in the paper's welfare, %", 100),
    "settling": Statistic("settling time, days"),
    "settling_days": Statistic("settling time, days"),
    "settled_share": Statistic("settling time, % of the year", 100),
    "reversals": Statistic("changes that reverse, %", 100),
    "yearly_change": Statistic("change of a rate, points a year"),
    "mean_hours": Statistic("h/week"),
    "hours_federal": Statistic("h/week under US federal"),
    "mean_rate": Statistic("mean marginal rate, %", 100),
    "rebate": Statistic("rebate, $/year"),
    "satisfied_share": Statistic("satisfied, %", 100),
    "gini_consumption": Statistic("Gini of consumption"),
    "elasticity": Statistic("elasticity"),
    "excess_mass": Statistic("excess mass at the kink, % of people", 100),
    "elasticity_bunching": Statistic("elasticity from bunching"),
    **{f"rate_{k}": Statistic(f"rate {k + 1}, %", 100) for k in range(7)},
}


def p_text(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def number_text(value: float, scale: float = 1.0) -> str:
    """A statistic of one run, with a readable number of digits."""
    x = scale * value
    return f"{x:,.0f}" if abs(x) >= 1000 else f"{x:.3g}" if abs(x) < 1 else f"{x:.1f}"


def interval_text(
    mean: float, low: float, high: float, scale: float = 1.0, *, sign: bool = False
) -> str:
    """`mean [low, high]` with as many digits as the interval supports."""
    mean, low, high = (scale * x for x in (mean, low, high))
    width = (high - low) / 2
    digits = min(3, max(0, 1 - math.floor(math.log10(width)))) if width > 0 else 2
    form = f"{'+' if sign else ''},.{digits}f"

    def text(x: float) -> str:
        return format(round(x, digits) + 0.0, form)

    if math.isnan(width):
        return text(mean)
    return f"{text(mean)} [{text(low)}, {text(high)}]"
