"""Figures of tax schedules.

They are drawn with matplotlib (the extra `report`), which is slow to load, so functions import it.
"""

import importlib.util
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from jaxecon.config.names import policy_name
from jaxecon.core.errors import UserError
from jaxecon.core.files import write_atomically


def check_matplotlib() -> None:
    """Raise UserError, one line, where matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise UserError("figures need matplotlib: pip install 'jaxecon[report]' (or --no-figure)")


def preload() -> None:
    """Import what drawing needs; a command does it early, while something else takes seconds."""
    with _without_backend():
        importlib.import_module("matplotlib.backends.backend_agg")


@contextmanager
def _without_backend() -> Iterator[None]:
    """Hide MPLBACKEND, a choice of windows, at which matplotlib fails to load if it knows none."""
    chosen = os.environ.pop("MPLBACKEND", None)
    try:
        yield
    finally:
        if chosen is not None:
            os.environ["MPLBACKEND"] = chosen


def draw_schedules(path: Path, rows: Sequence[Mapping[str, Any]], title: str) -> None:
    """Draw marginal and average rates over income for each policy.

    Args:
        path: A .png, .svg or .pdf file, replaced atomically.
        rows: One per policy, with `policy`, `thresholds` ($/year), `rates`, `rebate` and `gain`.
        title: Printed above the figure.
    """
    preload()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    top = max(max(row["thresholds"]) for row in rows)
    income = np.linspace(0, 1.25 * max(top, 200_000), 2000)
    figure = Figure(figsize=(9, 4), layout="constrained")
    FigureCanvasAgg(figure)
    marginal, average = figure.subplots(1, 2, sharex=True)
    for row in rows:
        thresholds, rates = np.asarray(row["thresholds"]), np.asarray(row["rates"])
        name = policy_name(row["policy"])
        rate = rates[np.searchsorted(thresholds, income, side="right") - 1]
        tax = np.concatenate([[0], np.cumsum((rate[1:] + rate[:-1]) / 2 * np.diff(income))])
        label = f"{name.words} ({round(100 * row['gain'], 1) + 0.0:+.1f} %)"
        style = {
            "color": name.colour,
            "linestyle": name.line,
            "linewidth": 2.2 if row["policy"] == "optimum" else 1.6,
        }
        marginal.plot(income / 1000, 100 * rate, label=label, **style)
        average.plot(income[1:] / 1000, 100 * (tax[1:] - row["rebate"]) / income[1:], **style)
    marginal.set(title="marginal rate", xlabel="income, thousand $/year", ylabel="%", ylim=(0, 100))
    average.set(
        title="average rate, rebate subtracted",
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
