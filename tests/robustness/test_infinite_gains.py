"""A gain that is infinite, or missing, in some seeds or populations: said, and never averaged."""

import json
import math

import pytest

from jaxecon.cli.output import sweep as printed
from jaxecon.cli.output.compare import print_comparison
from jaxecon.core.json_text import json_text
from jaxecon.simulation.compare import Comparison, summarise
from jaxecon.sweeps.results import _summary_row

INFINITE, NAN = math.inf, math.nan

# values of three seeds, two points each; what the summary says of them; its cell in the table
VALUES = [
    ([[0.1, 0.3], [0.2, 0.2], [0.2, 0.2]], (3, 0, 0.2), "20"),
    ([[0.1, INFINITE], [0.2, 0.2], [0.4, 0.4]], (2, 1, None), "infinite in 1 of 3"),
    ([[-INFINITE, INFINITE], [INFINITE] * 2, [0.4, NAN]], (1, 2, None), "infinite in 2 of 3"),
    ([[NAN, NAN], [0.2, None], [0.2, 0.2]], (2, 0, 0.2), "20 (2 of 3)"),
    ([[NAN, None], [None, None], [NAN, NAN]], (0, 0, None), ""),
]


@pytest.mark.parametrize(("values", "counted", "cell"), VALUES)
def test_a_sweep_says_in_how_many_seeds(values, counted, cell):
    rows = [
        {"seed": seed, "status": "ok", "gain_realised": value}
        for seed, of_seed in enumerate(values)
        for value in of_seed
    ]
    row = _summary_row(rows, [], "seed", ["gain_realised"], 0.95)
    known, infinite, mean = counted
    assert (row["n"], row["gain_realised_n"], row["gain_realised_infinite"]) == (3, known, infinite)
    assert row["gain_realised_mean"] == (None if mean is None else pytest.approx(mean))
    width = row["gain_realised_ci"]
    assert width is None if mean is None else width == pytest.approx(0, abs=1e-12)
    assert printed._mean_cell("gain_realised", row | {"gain_realised_ci": None}) == cell
    assert json.loads(json_text(row), parse_constant=pytest.fail) == row


def compared(gains):
    """A comparison of two planners, by their gains in each population."""
    nothing = {"hours": 30.0, "deadweight_loss": 1.0, "decile_income": [], "thresholds": []}
    rows = [
        {"population": i, "seed": i, "policy": name, "gain": gain, **nothing}
        for name, of_planner in gains.items()
        for i, gain in enumerate(of_planner)
    ]
    summary = summarise(rows, list(gains), "optimum")
    return Comparison(rows, summary, {}, list(gains), 3, "optimum")


@pytest.mark.parametrize("wrong", [INFINITE, -INFINITE, NAN])
@pytest.mark.filterwarnings("error")
def test_a_comparison_says_in_how_many_populations(wrong, tmp_path, capsys):
    found = compared({"saez": [0.1, wrong, 0.3], "optimum": [0.2, wrong, 0.4]})
    for row in found.summary:
        for name in ("gain", "difference"):
            assert row[name]["not_finite"] == 1
            assert all(math.isnan(row[name][key]) for key in ("mean", "standard_error", "low"))
    print_comparison(found, tmp_path)
    shown = capsys.readouterr().out
    assert shown.count("not finite in 1") == 3
    assert not {"nan", "inf", "+nan", "+inf", "-inf"} & set(shown.split())


def test_a_comparison_of_finite_gains():
    saez, _ = compared({"saez": [0.1, 0.2, 0.3], "optimum": [0.2, 0.3, 0.4]}).summary
    assert (saez["gain"]["not_finite"], saez["gain"]["mean"]) == (0, pytest.approx(0.2))
    assert saez["difference"]["mean"] == pytest.approx(-0.1)
