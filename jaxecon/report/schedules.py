"""Pictures, drawn with matplotlib (the extra `report`)."""

import importlib.util
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from jaxecon.core.errors import UserError
from jaxecon.core.files import write_atomically

# Okabe and Ito's colours, told apart by everybody; the optimum is black
_STYLES = {
    "us_federal": ("#999999", "-"),
    "flat": ("#56B4E9", "--"),
    "saez": ("#E69F00", "-"),
    "saez_self_consistent": ("#D55E00", "-."),
    "uniform_50": ("#CC79A7", ":"),
    "optimum": ("#000000", "-"),
}


def check_matplotlib() -> None:
    """Raise UserError, one line, where matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise UserError("figures need matplotlib: pip install 'jaxecon[report]' (or --no-figure)")


def preload() -> None:
    """Import what drawing needs, while something else takes seconds."""
    importlib.import_module("matplotlib.backends.backend_agg")


def schedules_figure(
    path: Path, rows: Sequence[Mapping[str, Any]], names: Mapping[str, str], title: str
) -> None:
    """Marginal and average rates over income for each policy. rows: `policy_row`s.

    path: a .png, .svg or .pdf, replaced atomically.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    top = max(max(row["thresholds"]) for row in rows)
    income = np.linspace(0, 1.25 * max(top, 200_000), 2000)
    figure = Figure(figsize=(9, 4), layout="constrained")
    FigureCanvasAgg(figure)
    marginal, average = figure.subplots(1, 2, sharex=True)
    for row in rows:
        thresholds, rates = np.asarray(row["thresholds"]), np.asarray(row["rates"])
        colour, line = _STYLES.get(row["policy"], ("#009E73", "-"))
        rate = rates[np.searchsorted(thresholds, income, side="right") - 1]
        tax = np.concatenate([[0], np.cumsum((rate[1:] + rate[:-1]) / 2 * np.diff(income))])
        label = f"{names.get(row['policy'], row['policy'])} ({round(100 * row['gain'], 1) + 0.0:+.1f} %)"
        style = {
            "color": colour,
            "linestyle": line,
            "linewidth": 2.2 if row["policy"] == "optimum" else 1.6,
        }
        marginal.plot(income / 1000, 100 * rate, label=label, **style)
        average.plot(income[1:] / 1000, 100 * (tax[1:] - row["rebate"]) / income[1:], **style)
    marginal.set(title="marginal rate", xlabel="income, thousand $/year", ylabel="%", ylim=(0, 100))
    average.set(
        title="average rate, rebate taken off",
        xlabel="income, thousand $/year",
        ylabel="%",
        ylim=(-100, 100),
    )
    for axes in (marginal, average):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    marginal.legend(title="gain over US federal", fontsize=8, title_fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=10)
    picture = BytesIO()
    figure.savefig(picture, format=path.suffix.removeprefix("."), dpi=150)
    write_atomically(path, picture.getvalue())
