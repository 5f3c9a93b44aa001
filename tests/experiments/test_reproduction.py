"""docs/reproduction.md: what the committed tables give, and how verdicts follow from them."""

import json
import math
import shutil

import pytest

from experiments.pages import judging, reproduction, results
from experiments.pages.claims import CLAIMS
from experiments.questions import planner_prompt
from jaxecon.core.errors import UserError


def test_the_committed_page_is_what_the_committed_tables_give():
    assert reproduction.PAGE.read_text() == reproduction.page()


@pytest.fixture
def committed(tmp_path, monkeypatch):
    """A copy of the committed tables, for the page to be written from."""
    folder = tmp_path / "results"
    shutil.copytree(results.RESULTS, folder)
    monkeypatch.setattr(results, "RESULTS", folder)
    yield folder
    results.read_json.cache_clear()


def change(committed, name, table, to):
    """Rows of a committed table, each with what to(row) gives."""
    path = committed / name / "tables" / f"{table}.json"
    stored = json.loads(path.read_text())
    path.write_text(json.dumps(stored | {"rows": [row | to(row) for row in stored["rows"]]}))
    results.read_json.cache_clear()


def test_a_gain_like_the_published_one_lies_within_it_with_its_whole_interval(committed):
    def ends(low, high):
        return lambda row: (
            {"mean": 1.0, "low": low, "high": high}
            if row["parameters"] == "calibrated, floor 10,000"
            else {}
        )

    verdicts = []
    for low, high in ((0.95, 1.1), (0.9, 1.1), (0.95, 1.2), (-3.0, 5.0), (math.nan, math.nan)):
        change(committed, "units", "economies", ends(low, high))
        verdicts.append(judging.gains()[0])
    assert verdicts == [judging.HOLDS, *[judging.FAILS] * 4]


def test_why_simulated_gains_exceed_the_optimum_is_the_claim_that_is_referred_to():
    (number,) = (i for i, claim in enumerate(CLAIMS, 1) if claim.name == "steps_of_ten")
    text = judging.gains()[1]
    assert "where every worker responds exactly and may choose any hours, no planner" in text
    assert f"claim {number})" in text


def test_a_model_that_cannot_tell_prompts_apart_says_nothing_about_them(committed):
    """Planted answers in the place of the committed ones; then results that did not count them."""
    path = committed / "planner_prompt" / "tables" / "llm_planner.json"
    stored = json.loads(path.read_text())
    earlier = [
        {key: value for key, value in row.items() if not key.startswith("plan_")}
        for row in stored["rows"]
    ]

    def judged(rows):
        path.write_text(json.dumps(stored | {"rows": rows}))
        results.read_json.cache_clear()
        verdict, text = judging.language_models()
        assert verdict == judging.UNTESTED
        assert text in reproduction.page()
        return text

    counted = {"plan_decisions": 9, "plan_usable": 9, "plan_distinct": 3}
    counted |= {"plan_most_frequent": "[10, 10, 10]", "plan_most_frequent_count": 5}
    counted |= dict.fromkeys(planner_prompt.DESCRIBED, 0.5)
    alike = judged([row | counted | {"plan_sequence": "a"} for row in earlier])
    assert f"Identical answers (plan) in all {len(earlier)} arms: the model decided" in alike
    assert (
        f"All statistics are identical in all {len(earlier)} arms, and say no more about" in alike
    )
    differ = judged(
        [
            row | counted | {"plan_sequence": str(i), "gain_realised": i / 10}
            for i, row in enumerate(earlier)
        ]
    )
    assert "dentical" not in differ
    assert "was not counted" not in differ
    assert "How many different answers there were was not counted." in judged(earlier)


def test_the_claim_on_steps_of_ten_is_judged_by_these_and_reports_finer_ones(committed):
    def all_of(step, **values):
        return lambda row: values if row["hours"].endswith(f": steps of {step}") else {}

    verdicts = []
    for step, values in (
        (10, {"p": 0.001, "difference": 0.1}),
        (1, {"p": 0.9, "difference": -0.1}),
        (10, {"p": 0.2}),
    ):
        change(committed, "hours", "steps", all_of(step, **values))
        verdicts.append(judging.steps_of_ten()[0])
    assert verdicts == [judging.HOLDS, judging.HOLDS, judging.FAILS]
    text = judging.steps_of_ten()[1]
    assert "With finer steps, calibrated, floor 10,000: steps of 5 " in text
    assert "; steps of 1 -10." in text


def test_fewer_populations_make_no_year_long_enough(committed):
    verdicts = []
    for low, high in ((70.0, 90.0), (60.0, 90.0), (0.0, 128.0)):
        change(
            committed,
            "tax_year",
            "settling",
            lambda row, low=low, high=high: {"mean": 80.0, "low": low, "high": high},
        )
        verdicts.append(judging.settling()[0])
    assert verdicts == [judging.HOLDS, judging.FAILS, judging.FAILS]


def finished(committed, name, folder, *, without=(), **more):
    """What `jaxecon experiment` would have left, of committed tables."""
    shutil.copytree(committed / name, folder)
    manifest = (
        json.loads((folder / "manifest.json").read_text())
        | {"kind": "experiment", "status": "complete"}
        | more
    )
    manifest["tables"] = [table for table in manifest["tables"] if table not in without]
    for table in without:
        (folder / f"tables/{table}.json").unlink()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.mark.parametrize(
    ("name", "table", "claim_name", "llm", "option"),
    [
        ("planner_prompt", "llm_planner", "language_models", "left out (--no-llm)", " --no-llm"),
        ("voting", "turnover", "turnover", "yes", ""),
    ],
)
def test_a_claim_whose_table_is_absent_is_not_measured(
    name, table, claim_name, llm, option, committed, tmp_path
):
    out = finished(committed, name, tmp_path / "out", without=(table,), llm=llm)
    before = reproduction.page()
    assert results.take_over(out) == name
    after = reproduction.page()
    (claim,) = (claim for claim in CLAIMS if claim.name == claim_name)
    verdict, line = judging.judge(claim)
    assert verdict == judging.MISSING
    assert line == f"`jaxecon experiment {name}{option}` left no table `{table}`."
    assert line in after
    # in the summary and in its place
    assert before.count(judging.MISSING) + 2 == after.count(judging.MISSING)
    assert not [path for path in committed.iterdir() if path.name.startswith(".")]


def test_tables_with_the_earlier_key_of_a_statistic_are_taken_over(committed, tmp_path):
    out = finished(committed, "voting", tmp_path / "out")
    before = reproduction.page()
    for path in (out / "tables").glob("*.json"):
        path.write_text(path.read_text().replace('"statistic":', '"figure":'))
    assert '"figure":' in (out / "tables" / "conflict.json").read_text()
    assert results.take_over(out) == "voting"
    assert reproduction.page() == before


def test_one_population_with_a_turnover_has_no_interval(committed):
    alone = {"n": 1, "mean": 0.0, "low": None, "high": None}
    change(
        committed,
        "voting",
        "turnover",
        lambda row: alone if row["economy"] == "3 workers, GB2" else {},
    )
    assert "3 workers, GB2 0.00;" in judging.turnover()[1]


def test_results_are_replaced_by_whole_ones_alone(committed, tmp_path):
    out = finished(committed, "voting", tmp_path / "out")
    (out / "tables/conflict.json").unlink()
    before = {path: path.read_bytes() for path in committed.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=r"conflict\.json: No such file"):
        results.take_over(out)
    assert {path: path.read_bytes() for path in committed.rglob("*") if path.is_file()} == before
