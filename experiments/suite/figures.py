"""Figures of experiments, drawn with matplotlib."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from experiments.suite.arms import Arms
from experiments.suite.statistics import estimate
from experiments.suite.tables import Table
from experiments.suite.wording import STATISTICS
from jaxecon.core.files import write_atomically
from jaxecon.report.schedules import preload


@dataclass(frozen=True)
class Figure:
    """A figure of `size` inches; draw(matplotlib.figure.Figure) fills it.

    caption: what it shows.
    """

    name: str
    caption: str
    draw: Callable[[Any], None]
    size: tuple[float, float] = (9.0, 4.0)


# Okabe and Ito's colours, which people with any colour vision can distinguish
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def curve(
    axes: Any,
    x: Sequence[float],
    arms: Arms,
    labels: Sequence[Any],
    statistic: str,
    words: str = "",
    colour: int = 0,
) -> None:
    """Draw a statistic's mean over x with its interval. labels: an arm's label for each x."""
    scale = STATISTICS[statistic].scale
    estimates = [estimate(scale * arms.of(statistic, label)) for label in labels]
    mean = [e.mean for e in estimates]
    reach = np.abs([[e.mean - e.low, e.high - e.mean] for e in estimates]).T
    style = {
        "color": COLOURS[colour],
        "capsize": 3,
        "marker": "o",
        "markersize": 4,
        "linewidth": 1.4,
    }
    axes.errorbar(
        x, mean, np.nan_to_num(reach), label=words or STATISTICS[statistic].words, **style
    )


def finish(axes: Any, *, title: str, x: str, y: str = "", legend: bool = True) -> None:
    """Set title, labels, grid and legend, and hide the upper and right frame."""
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if legend:
        axes.legend(fontsize=8, frameon=False)


def powers_of_two(axes: Any, x: Sequence[float]) -> None:
    """Make the x axis logarithmic (base 2), with ticks at the values x."""
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(x), [f"{v:,.0f}" for v in x])
    axes.minorticks_off()


def forest(figure: Any, table: Table, label: str, title: str) -> None:
    """Draw differences or effects with their intervals, one panel for each statistic.

    label: the key of the rows that holds their names.
    """
    rows = [row for row in table.rows if "difference" in row]
    statistics = list(dict.fromkeys(row["statistic"] for row in rows))
    panels = np.atleast_1d(figure.subplots(1, len(statistics), sharey=True))
    for axes, statistic in zip(panels, statistics, strict=True):
        these = [row for row in rows if row["statistic"] == statistic]
        scale, y = STATISTICS[statistic].scale, np.arange(len(these))[::-1]
        mean = np.array([scale * row["difference"] for row in these])
        ends = np.array(
            [[scale * row["difference_low"], scale * row["difference_high"]] for row in these]
        )
        reach = np.abs(np.stack([mean - ends[:, 0], ends[:, 1] - mean]))
        sure = np.array([row["p"] < 0.05 for row in these])
        for chosen, colour in ((sure, COLOURS[1]), (~sure, "#999999")):
            if chosen.any():
                axes.errorbar(
                    mean[chosen],
                    y[chosen],
                    xerr=reach[:, chosen],
                    fmt="o",
                    color=colour,
                    capsize=3,
                    markersize=4,
                )
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_yticks(y, [row[label] for row in these])
        finish(axes, title=STATISTICS[statistic].words, x="difference", legend=False)
    figure.suptitle(f"{title} (colour: p < 0.05 after Holm; bars: 95 %)", fontsize=10)


def save_figure(folder: Path, figure: Figure) -> Path:
    """Draw a figure into a PNG in `folder`/figures; return the file's path."""
    # matplotlib is an extra, and slow to import
    preload()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=figure.size, layout="constrained")
    FigureCanvasAgg(canvas)
    figure.draw(canvas)
    content, path = BytesIO(), folder / "figures" / f"{figure.name}.png"
    canvas.savefig(content, format="png", dpi=120)
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, content.getvalue())
    return path
