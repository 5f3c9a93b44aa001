"""What an experiment finds and leaves, and that it goes on where it was interrupted."""

import json
from contextlib import nullcontext

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.small_designs import row_of, small_designs, table_of

from experiments.suite.conduct import conduct
from jaxecon.core.errors import UserError
from jaxecon.sweeps.listener import SilentSweepListener


@pytest.fixture(scope="module")
def factorial(tmp_path_factory):
    """The factorial on small economies: a planner that has an ingredient taken away is the planted
    effect.
    """
    folder = tmp_path_factory.mktemp("factorial") / "out"
    designs = small_designs("planner_prompt", seeds=30, years=24, year={"days": 12})
    return conduct("planner_prompt", out=folder, designs=designs), designs


def test_a_planner_without_exploitation_is_found(factorial):
    report, _ = factorial
    main = row_of(table_of(report, "effects"), statistic="gain_equilibrium", effect="exploitation")
    assert main["n"] == 30
    assert main["p"] < 0.01
    assert main["difference_low"] > 0
    assert main["effect_size"] > 0.5
    without = row_of(
        table_of(report, "ablations"), statistic="gain_equilibrium", planner="without exploitation"
    )
    assert without["difference"] < 0
    assert without["p"] < 0.05


def test_effects_are_those_of_the_points(factorial):
    """The main effect from the sweep's table in NumPy, without the suite."""
    report, _ = factorial
    points = pq.read_table(report.folder / "mechanical/factorial/points.parquet")
    exploits = np.array(points["planner.memory.exploitation"].to_pylist())
    gains, seeds = (np.array(points[name].to_pylist()) for name in ("gain_equilibrium", "seed"))
    by_population = [
        gains[exploits & (seeds == s)].mean() - gains[~exploits & (seeds == s)].mean()
        for s in range(30)
    ]
    found = row_of(table_of(report, "effects"), statistic="gain_equilibrium", effect="exploitation")
    assert found["difference"] == pytest.approx(np.mean(by_population), rel=1e-9)
    assert found["effect_size"] == pytest.approx(
        np.mean(by_population) / np.std(by_population, ddof=1), rel=1e-9
    )


def test_what_an_experiment_leaves(factorial):
    report, _ = factorial
    manifest = json.loads((report.folder / "manifest.json").read_text())
    assert (manifest["status"], manifest["name"], manifest["llm"]) == (
        "complete",
        "planner_prompt",
        "none",
    )
    account = manifest["designs"]["mechanical.factorial"]
    assert (account["points"], account["failed"], account["populations"], account["seeds"]) == (
        480,
        0,
        30,
        [0, 29],
    )
    assert {"versions", "hardware", "git_revision", "seconds"} <= manifest.keys()
    text = (report.folder / "report.md").read_text()
    for table in report.tables:
        kept = json.loads((report.folder / f"tables/{table.name}.json").read_text())
        assert (
            len(kept["rows"])
            == len(table.rows)
            == pq.read_table(report.folder / f"tables/{table.name}.parquet").num_rows
        )
        assert table.title in text
    for path in report.figures:
        assert path.read_bytes().startswith(b"\x89PNG")
        assert f"figures/{path.name}" in text


def test_one_program_for_each_shape_of_memory(factorial):
    """Switches are arrays: sixteen planners compile twice, for the two lengths of history."""
    report, _ = factorial
    plan = json.loads((report.folder / "mechanical/factorial/plan.json").read_text())
    assert len({chunk["form"] for chunk in plan["chunks"]}) == 2


class Interrupting(SilentSweepListener):
    def on_chunk(self, points, failed):
        raise KeyboardInterrupt


def test_it_goes_on_where_it_was_interrupted(factorial, tmp_path):
    whole, designs = factorial
    with pytest.raises(KeyboardInterrupt):
        conduct(
            "planner_prompt",
            out=tmp_path / "out",
            designs=designs,
            watch=lambda _: nullcontext(Interrupting()),
        )
    assert json.loads((tmp_path / "out/manifest.json").read_text())["status"] == "running"
    (part,) = (tmp_path / "out/mechanical/factorial/points.parquet").glob("part-*")
    before = part.stat().st_mtime_ns
    again = conduct("planner_prompt", out=tmp_path / "out", designs=designs)
    assert part.stat().st_mtime_ns == before
    for table in whole.tables:
        assert table_of(again, table.name) == table
    with pytest.raises(UserError, match="holds another experiment"):
        conduct("planner_prompt", out=tmp_path / "out", designs=small_designs("planner_prompt"))


def test_language_models_are_described(tmp_path):
    """The simulated engine in a model's place: runs that are described, not tested, and not run
    twice.
    """
    designs = small_designs("tax_year", llm=True)
    designs["mechanical"]["arms"]["grid"]["year.days"] = [4, 8]
    design = designs["llm"]["workers"]
    design["run"] |= {
        "population": {"mechanical": 0, "llm": 3, "sampling": "random"},
        "llm": {"engine": "simulated"},
    }
    design["grid"]["year.days"] = [2, 3]
    report = conduct("tax_year", out=tmp_path / "out", designs=designs)
    table = table_of(report, "llm_workers")
    assert [row["answers"] for row in table.rows] == [2 * 3 * 2, 2 * 3 * 3]
    assert not any(key.startswith("p_") or key == "p" for row in table.rows for key in row)
    assert any("simulated engine is rules, no language model" in note for note in report.notes)
    transcripts = sorted((tmp_path / "out/llm/workers/runs").glob("*/transcript.sqlite"))
    before = [path.stat().st_mtime_ns for path in transcripts]
    assert len(before) == 2
    conduct("tax_year", out=tmp_path / "out", designs=designs)
    assert [path.stat().st_mtime_ns for path in transcripts] == before
    settled = row_of(table_of(report, "settling"), statistic="settling", days="8")
    assert 0 <= settled["mean"] <= 8
