"""Questions that language-model workers are asked when a year is over."""

import json
import shutil
from contextlib import closing

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from support.runs import HYBRID, as_earlier_run, assert_same_run, flighty, run_killed

import jaxecon as je
from jaxecon.config.survey import Question
from jaxecon.core.errors import EngineError, Interrupted
from jaxecon.simulation.language import open_transcript
from jaxecon.storage.differences import differences
from jaxecon.storage.digest import digest
from jaxecon.storage.paths import SURVEY, TRANSCRIPT
from jaxecon.storage.survey import SurveyAnswer, survey_table, tallies
from llm.engines.simulated import SimulatedEngine

SUPPORT = {"name": "support", "ask": "Do you support this tax?", "choices": ["yes", "no"]}
EXPECTED = {"name": "expected", "ask": "What tax do you expect?", "number": [0, 900], "years": [1]}
REASON = {"name": "reason", "ask": "Why these hours?", "text": 40, "years": [0, 2]}
ASKING = {
    **HYBRID,
    "population": {
        "cohorts": [
            {"name": "mechanical", "rule": "adaptive", "size": 20},
            {"name": "few", "rule": "llm", "size": 2},
            {"name": "many", "rule": "llm", "size": 3},
        ],
        "shares": {"few": 0.3, "many": 0.1},
    },
    "survey": {"questions": [SUPPORT, EXPECTED, REASON]},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return je.run(ASKING, out=tmp_path_factory.mktemp("survey") / "run")


def conversations(run, kind):
    with closing(open_transcript(run.path / TRANSCRIPT)) as transcript:
        return list(transcript.conversations(kind=kind))


def test_everybody_is_asked_in_the_years_that_were_given(run):
    rows = run.survey.to_pylist()
    people = [("few", 0), ("few", 1), ("many", 0), ("many", 1), ("many", 2)]
    years = {"support": (0, 1, 2), "expected": (1,), "reason": (0, 2)}
    assert sorted((r["question"], r["year"], r["cohort"], r["agent"]) for r in rows) == sorted(
        (question, year, *who)
        for question, asked in years.items()
        for year in asked
        for who in people
    )
    form = {"support": "choice", "expected": "number", "reason": "text"}
    for row in rows:
        given = [name for name in ("choice", "number", "text") if row[name] is not None]
        assert given == [form[row["question"]]]
        assert row["status"] == "ok"
    assert {row["choice"] for row in rows} == {"yes", "no", None}
    weights = {(a["cohort"], a["agent"]): a["weight"] for a in run.agents.to_pylist()}
    assert all(row["weight"] == pytest.approx(weights[row["cohort"], row["agent"]]) for row in rows)
    assert run.summary["llm"]["by_kind"]["survey:support"] == {"ok": 15}


def test_the_prompt_says_what_the_year_brought(run):
    (row,) = run.agents.filter(
        (pc.field("year") == 1) & (pc.field("cohort") == "many") & (pc.field("agent") == 2)
    ).to_pylist()
    (asked,) = [
        c
        for c in conversations(run, "survey:support")
        if (c["year"], c["cohort"], c["agent"]) == (1, "many", 2)
    ]
    text = asked["messages"][1]["content"]
    assert (
        f"In year 2, on average and at yearly rates, you worked {row['hours']:,.0f} hours a week, "
        f"earned {row['income']:,.0f} dollars, paid {row['tax']:,.0f} in tax" in text
    )
    assert asked["day"] == 5  # the last of the year
    assert asked["schema"]["properties"] == {"answer": {"enum": ["yes", "no"]}}


def test_the_economy_never_sees_the_answers(run, tmp_path):
    """Agents and state are equal to the last bit, and so are the years but for the columns that
    count calls and tokens; so is what else is asked.
    """
    silent = je.run({**ASKING, "survey": {}}, out=tmp_path / "silent")
    of_models = ["seconds", "llm_calls", "prompt_tokens", "completion_tokens"]
    asked, unasked = (one.years.drop_columns(of_models) for one in (run, silent))
    assert asked.equals(unasked)
    assert run.agents.equals(silent.agents)
    assert digest(run.path).state == digest(silent.path).state
    assert digest(silent.path).survey is None
    assert not (silent.path / SURVEY).exists()
    assert silent.survey.equals(run.survey.slice(0, 0))
    assert len(conversations(run, "survey")) == run.survey.num_rows
    for kind in ("labor", "satisfaction"):
        one, other = ([c["key"] for c in conversations(r, kind)] for r in (run, silent))
        assert one == other


@pytest.mark.parametrize(("year", "day"), [(0, 6), (1, 2), (1, None), (2, 6)])
def test_a_killed_run_resumes_as_if_nothing_had_happened(run, tmp_path, year, day):
    killed = run_killed(ASKING, tmp_path / "run", year=year, day=day)
    je.resume(killed)
    assert_same_run(killed, run.path)
    assert je.load(killed).survey.equals(run.survey)


@pytest.mark.parametrize("stop", [EngineError("gone"), Interrupted(15)])
@pytest.mark.parametrize(("year", "question"), [(0, "support"), (1, "expected"), (2, "reason")])
def test_a_survey_that_is_interrupted_goes_on(run, tmp_path, stop, year, question):
    """After the second answer of a batch: nothing is asked twice."""

    class Stops(SimulatedEngine):
        asked = 0

        def complete(self, requests, *, on_completion):
            draw = requests[0].draw
            Stops.asked += len(requests)
            if (draw.kind, draw.year) == (f"survey:{question}", year) and not going_on:
                Stops.asked += 2 - len(requests)
                super().complete(requests[:2], on_completion=on_completion)
                raise stop
            super().complete(requests, on_completion=on_completion)

    going_on = False
    with pytest.raises(type(stop)):
        je.run(ASKING, out=tmp_path / "run", engine=Stops())
    assert je.load(tmp_path / "run").last_year == year - 1
    going_on = True
    je.resume(tmp_path / "run", engine=Stops())
    assert_same_run(tmp_path / "run", run.path)
    assert je.load(tmp_path / "run").survey.equals(run.survey)
    assert Stops.asked == run.summary["llm"]["calls"]


def test_replayed_and_branched(run, tmp_path):
    assert je.replay(run.path).equal
    other = "survey.questions=[{name: fair, ask: 'Is it fair?', choices: [fair, unfair]}]"
    (same,) = je.branch(run.path, year=1, out=tmp_path / "same")
    (asked,) = je.branch(run.path, year=1, out=tmp_path / "asked", overrides=[other])
    since = run.survey.filter(pc.field("year") >= 1)
    assert same.survey.equals(since)
    assert set(asked.survey["question"].to_pylist()) == {"fair"}
    assert set(asked.survey["year"].to_pylist()) == {1, 2}
    columns = ["seconds", "llm_calls", "prompt_tokens", "completion_tokens"]
    assert asked.years.drop_columns(columns).equals(same.years.drop_columns(columns))


def test_answers_that_cannot_be_used_are_none(tmp_path):
    """Of agent 0 every first reply is useless; that of everybody is out of range."""
    from llm.engines.scripted import ScriptedEngine
    from llm.messages import Completion

    others = flighty()

    def reply(request):
        if not request.draw.kind.startswith("survey"):
            return others._reply(request)
        answers = {"support": "YES", "expected": 901, "reason": "Why not."}
        return Completion(json.dumps({"answer": answers[request.draw.kind.split(":")[1]]}))

    anyway = ["llm.fallback_limit=1"]
    done = je.run(ASKING, overrides=anyway, out=tmp_path / "run", engine=ScriptedEngine(reply))
    asked = done.survey.to_pylist()
    status = {row["question"]: row["status"] for row in asked}
    assert status == {"support": "repaired", "expected": "fallback", "reason": "ok"}
    assert {row["choice"] for row in asked if row["question"] == "support"} == {"yes"}
    assert {row["number"] for row in asked if row["question"] == "expected"} == {None}
    # an answer is no decision: it counts neither for nor against the rate of fallbacks
    assert done.years["llm_decisions"].to_pylist() == [
        5 * 6 + 5 * 2 + 1 * (year > 0) for year in range(3)
    ]
    assert done.years["llm_fallbacks"].to_pylist() == [0, 0, 0]
    assert "fallback_rate" not in [found.name for found in done.diagnostics]


def test_the_digest_is_of_every_answer_however_rows_are_split(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    as_earlier_run(copy)
    before = digest(copy)
    assert before.survey is not None
    table = run.survey
    rewrite(copy, table, groups=4)  # the rows of a year in several groups, some without any text
    assert digest(copy) == before
    for column, other in (("choice", "no"), ("number", 1.0), ("text", "Other."), ("status", "x")):
        place = next(i for i, value in enumerate(table[column].to_pylist()) if value is not None)
        values = table[column].to_pylist()
        values[place] = other if values[place] != other else None
        changed = table.set_column(
            table.column_names.index(column), column, pa.array(values, table[column].type)
        )
        rewrite(copy, changed)
        assert digest(copy).survey != before.survey, column
        assert digest(copy).combined != before.combined
        found = differences(copy, run.path, (None, None))
        assert [(f.where, f.column, f.decided) for f in found] == [(SURVEY, column, True)]


def rewrite(folder, table, groups=1):
    """The same rows in one file."""
    import pyarrow.parquet as pq

    shutil.rmtree(folder / SURVEY)
    (folder / SURVEY).mkdir()
    path = folder / SURVEY / "part-00000000-00000002.parquet"
    pq.write_table(table, path, row_group_size=-(-table.num_rows // groups))


def test_shares_and_means_are_of_people():
    """Against NumPy, agents counting as many times as the people they stand for."""
    support = Question(name="support", ask="?", choices=("yes", "no", "never"))
    income = Question(name="income", ask="?", number=(0, 100))
    weights = {"a": np.array([1.0, 2.0, 5.0]), "b": np.array([4.0])}
    given = [("a", 0, "yes", 10), ("a", 1, "no", 20), ("a", 2, None, None), ("b", 0, "yes", 40)]
    answers = [
        SurveyAnswer(cohort, agent, question, value, "fallback" if value is None else "ok")
        for cohort, agent, *values in given
        for question, value in zip((support, income), values, strict=True)
    ]
    chosen, numbers = tallies(survey_table(3, answers, weights), (support, income))
    assert (chosen.year, chosen.answers, chosen.missing) == (3, 3, 1)
    assert chosen.shares == pytest.approx({"yes": 5 / 7, "no": 2 / 7, "never": 0.0})
    people = np.repeat([10, 20, 40], [1, 2, 4])
    assert numbers.numbers is not None
    assert numbers.numbers.mean == pytest.approx(people.mean())
    assert numbers.numbers.deviation == pytest.approx(people.std())
    assert (numbers.numbers.least, numbers.numbers.largest) == (10, 40)
    nothing = tallies(survey_table(0, [answers[4]], weights), (support,))
    assert (nothing[0].answers, nothing[0].missing, nothing[0].shares) == (0, 1, {})
