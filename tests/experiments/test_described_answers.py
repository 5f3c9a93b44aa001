"""What described tables say of arms whose answers do not differ, on runs with planted answers."""

import json
from contextlib import closing

import pytest
from support.runs import decisions
from support.small_designs import small_designs, table_of

from experiments.suite.answers import answer_limits, described_rows, statistic_limits
from experiments.suite.conduct import conduct
from experiments.suite.tables import described_table, markdown
from jaxecon.simulation.language import open_transcript
from jaxecon.sweeps import run_point
from jaxecon.sweeps.sweep import sweep
from llm.engines.scripted import ScriptedEngine
from llm.messages import Completion, Usage

BOUND = "planner.max_change"  # marks the arms, since the engine sees it
ABOUT = "the bound"
ONE, TWO, THREE, SILENT, PARTLY, FAILED, LONGER = range(10, 80, 10)  # arms by their bound
OTHER = 80  # changes its mind once, in another year than TWO and THREE


def planned(request):
    """The planted answers: what a planner of an arm says in each year."""
    bound, year = request.observation.max_change, request.draw.year
    if bound == SILENT or (bound == PARTLY and year == 2):
        return "I would rather not."
    if bound in (ONE, PARTLY, LONGER):
        return '{"changes": [10]}'
    change = -10 if (year == 3) == (bound == OTHER) else 10
    # other words and another reason for the same decision
    reason = f"Reason {bound}." if bound == TWO else "Because."
    return json.dumps({"reasoning": reason, "changes": [change]})


@pytest.fixture
def scripted(monkeypatch):
    """Sets what answers in the place of every language model of a sweep."""
    started = run_point.start_engines

    def script(reply):
        engine = ScriptedEngine(lambda r: Completion(reply(r), usage=Usage(100, 0, 5)))
        monkeypatch.setattr(run_point, "start_engines", lambda config, _: started(config, engine))

    return script


@pytest.fixture(scope="module")
def arms(tmp_path_factory):
    """One sweep with all arms: its rows, and itself."""
    design = {
        "run": {
            "year": {"days": 1},
            "population": {"cohorts": [{"name": "people", "rule": "rational", "size": 4}]},
            "schedule": {"brackets": "flat"},
            "planner": {"kind": "llm", "compared_with": []},
            "llm": {"engine": "simulated", "fallback_limit": 1},
        },
        "list": [
            {
                BOUND: bound,
                "years": 6 if bound == LONGER else 5,
                "llm.budget_tokens": 150 if bound == FAILED else None,
            }
            for bound in (ONE, TWO, THREE, SILENT, PARTLY, FAILED, LONGER, OTHER)
        ],
    }
    with pytest.MonkeyPatch.context() as patch:
        started = run_point.start_engines
        engine = ScriptedEngine(lambda r: Completion(planned(r), usage=Usage(100, 0, 5)))
        patch.setattr(run_point, "start_engines", lambda config, _: started(config, engine))
        swept = sweep(design, out=tmp_path_factory.mktemp("arms") / "sweep")
    rows = described_rows(swept, ("plan",), lambda row: f"arm {row[BOUND]}")
    return {row[BOUND]: row for row in rows}, swept


def limits(arms, *bounds):
    rows, _ = arms
    return answer_limits([rows[bound] for bound in bounds], "plan", ABOUT)


def test_answers_are_those_of_the_transcripts(arms):
    rows, swept = arms
    assert [row["point"] for row in swept.answers.to_pylist()] == [0, 1, 2, 3, 4, 6, 7]
    for bound, row in rows.items():
        if bound == FAILED:
            assert row["status"] == "failed"
            assert row["plan_usable"] is None
            continue
        stored = [d for _, d in decisions(swept.path / "runs" / f"{row['point']:08d}")]
        usable = [d.decision for d in stored if d.status != "fallback"]
        assert row["plan_decisions"] == len(stored) == (5 if bound == LONGER else 4)
        assert (row["plan_usable"], row["plan_distinct"]) == (len(usable), len(set(usable)))
        with closing(
            open_transcript(swept.path / "runs" / f"{row['point']:08d}/transcript.sqlite")
        ) as t:
            assert t.answers(by=("kind",))[("plan",)].sequence == row["plan_sequence"]


def test_identical_in_all_arms(arms):
    assert limits(arms, TWO, THREE) == [
        "Identical answers (plan) in both arms: the model decided the same whatever the arm, and "
        "this table says no more about the bound."
    ]


def test_one_arm_with_one_answer(arms):
    assert limits(arms, ONE, TWO) == [
        "The model gave one answer (plan: [10]) in all 4 usable decisions of arm 10: by itself, "
        "the arm says nothing about the bound."
    ]


def test_some_identical_arms_are_named(arms):
    assert limits(arms, TWO, OTHER, THREE) == [
        "Identical answers (plan) in arm 20 and arm 30: nothing about the bound follows from "
        "comparing them."
    ]


def test_arms_with_answers_of_their_own_are_left_alone(arms):
    """The null: as many distinct answers, as often, in another order."""
    rows, _ = arms
    assert limits(arms, TWO, OTHER) == []
    assert [rows[b]["plan_distinct"] for b in (TWO, OTHER)] == [2, 2]


def test_the_same_one_answer_is_identical_however_often_it_is_asked(arms):
    lines = limits(arms, ONE, LONGER)
    assert [line.split(":")[0] for line in lines] == [
        "The model gave one answer (plan",
        "The model gave one answer (plan",
        "Identical answers (plan) in both arms",
    ]
    assert "in all 4 usable decisions of arm 10" in lines[0]
    assert "in all 5 usable decisions of arm 70" in lines[1]


def test_fallbacks_are_no_answers(arms):
    rows, _ = arms
    assert (rows[SILENT]["plan_decisions"], rows[SILENT]["plan_usable"]) == (4, 0)
    assert limits(arms, SILENT, TWO, OTHER) == [
        "No usable answer (plan) in arm 40: nothing about the bound follows there."
    ]
    # nothing is said of all arms where one of them did not answer
    assert limits(arms, SILENT, TWO, THREE)[1].startswith(
        "Identical answers (plan) in arm 20 and arm 30: "
    )
    assert "in all 3 usable decisions of arm 50" in limits(arms, PARTLY, TWO)[0]


def test_a_failed_run_is_not_compared(arms):
    lines = limits(arms, TWO, FAILED, THREE)
    assert lines[0] == (
        "Answers (plan) not compared, since a run failed or left no transcript: arm 60."
    )
    assert lines[1].startswith("Identical answers (plan) in arm 20 and arm 30: ")
    assert len(lines) == 2


def test_several_runs_of_an_arm_are_compared_together(arms):
    """Two populations an arm: identical only where both are."""
    rows, _ = arms

    def arm(label, *bounds):
        return [rows[bound] | {"described": label} for bound in bounds]

    assert answer_limits([*arm("a", TWO, OTHER), *arm("b", THREE, OTHER)], "plan", ABOUT)[
        0
    ].startswith("Identical answers (plan) in both arms: ")
    assert answer_limits([*arm("a", TWO, OTHER), *arm("b", OTHER, TWO)], "plan", ABOUT) == []
    assert answer_limits([*arm("a", ONE, TWO), *arm("b", OTHER, TWO)], "plan", ABOUT) == []


def test_different_answers_that_come_to_the_same(arms):
    """Planted statistics in the rows of runs with different answers."""
    rows, _ = arms
    names = ("x", "y")

    def told(*values, **more):
        planted = [
            rows[bound] | dict(zip(names, value, strict=True)) | more
            for bound, value in zip((TWO, OTHER, ONE), values, strict=False)
        ]
        return statistic_limits(planted, names, ABOUT)

    assert told((1.0, 2), (1.0, 2), (1.0, 2)) == [
        "All statistics are identical in all 3 arms, and say no more about the bound."
    ]
    assert told((1.0, 2), (1.0, 2.0000001)) == told((1.0, 2)) == []
    assert told((1.0, None), (1.0, None))[0].startswith("All statistics are identical in both arms")
    assert told((None, None), (None, None), status="failed") == []
    assert statistic_limits([rows[TWO], rows[THREE]], ("gain_realised",), ABOUT)
    assert statistic_limits([rows[TWO], rows[OTHER]], ("mean_hours", "gain_realised"), ABOUT) == []


def test_a_table_shows_the_numbers_and_says_so_below(arms):
    rows, _ = arms
    table = described_table(
        "t",
        "T",
        [rows[bound] for bound in (ONE, TWO, SILENT, PARTLY, FAILED)],
        ("mean_hours",),
        kinds=("plan",),
        about=ABOUT,
    )
    assert table.cells[-3:] == [
        ["plan: usable answers", "4", "4", "0", "3", ""],
        ["plan: distinct answers", "1", "2", "0", "1", ""],
        ["plan: most frequent answer, %", "100", "75", "", "100", ""],
    ]
    text = markdown(table)
    for line in limits(arms, ONE, TWO, SILENT, PARTLY, FAILED):
        assert line in text


def test_an_experiment_says_that_its_arms_cannot_be_told_apart(tmp_path, scripted):
    scripted(lambda request: '{"hours": 40}')
    designs = small_designs("tax_year", llm=True)
    designs["mechanical"]["arms"]["grid"]["year.days"] = [4, 8]
    design = designs["llm"]["workers"]
    design["run"] |= {
        "population": {"mechanical": 0, "llm": 3, "sampling": "random"},
        "llm": {"engine": "simulated"},
    }
    design["grid"]["year.days"] = [2, 3]
    report = conduct("tax_year", out=tmp_path / "out", designs=designs)
    said = (
        "Identical answers (hours) in both arms: the model decided the same whatever the arm, and "
        "this table says no more about the days that such workers need to settle."
    )
    assert said in table_of(report, "llm_workers").note
    assert said in (tmp_path / "out/report.md").read_text()
    stored = json.loads((tmp_path / "out/tables/llm_workers.json").read_text())["rows"]
    assert [(row["labor_usable"], row["labor_distinct"]) for row in stored] == [(12, 1), (18, 1)]
