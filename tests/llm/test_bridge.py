"""The bridge: order, isolation, statuses that add up, no answer asked for twice."""

import hashlib
import json
import signal
import threading
import time
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.decisions import by_agent, observations

import jaxecon as je
from jaxecon.config.read import load_config
from jaxecon.core.errors import EngineError, Interrupted
from jaxecon.planners import PlannerContext, YearObservation
from jaxecon.workers.base import Cohort
from llm.agents.planner import LLMPlanner
from llm.agents.workers import LLMWorkers
from llm.bridge import Bridge
from llm.decisions.labor import Labor
from llm.engines.scripted import ScriptedEngine
from llm.messages import Completion, Draw, Message, Request, Sampling, Usage
from llm.served import ServedModel
from llm.transcript.keys import request_key
from llm.transcript.store import Transcript


@pytest.fixture
def transcript(tmp_path):
    opened = Transcript(tmp_path / "transcript.sqlite")
    yield opened
    opened.close()


def bridge(engine, transcript, retries=2, seed=0, **options):
    served = ServedModel(engine)
    return Bridge(
        {"llm": served, "planner": served},
        transcript,
        seed=seed,
        sampling=Sampling(),
        retries=retries,
        **options,
    )


def settings(**llm):
    return load_config({"years": 3, "population": {"personas": {"source": "none"}}, "llm": llm})


def test_decisions_come_in_order(transcript):
    engine = by_agent(lambda agent, attempt: json.dumps({"hours": 10 * agent}))
    decisions = bridge(engine, transcript).decide(Labor(), observations(11))
    assert [d.value for d in decisions] == list(range(0, 101, 10))
    assert {d.status for d in decisions} == {"ok"}


def test_a_draft_in_a_reply_that_was_cut_is_no_answer(transcript):
    draft = 'The worker could do {"hours": 20} hours but that may be'
    texts = [draft, "hours: 2", '{"hours": 40}']
    engine = by_agent(
        lambda agent, attempt: '{"hours": 50}' if attempt else Completion(texts[agent], "length")
    )
    decisions = bridge(engine, transcript).decide(Labor(), observations(3))
    assert [(d.value, d.status) for d in decisions] == [(50, "retried")] * 2 + [(40, "ok")]


def test_one_agents_failure_never_touches_another(transcript):
    def reply(agent, attempt):
        if agent == 1:
            return "I would rather not say"
        if agent == 2 and attempt == 0:
            return '{"hours": 400}'
        if agent == 3:
            return Completion("", "error", error="prompt too long")
        if agent == 4:
            return 'ok: {"hours": 70}'
        return '{"hours":50}'

    engine = by_agent(reply)
    b = bridge(engine, transcript, retries=2)
    decisions = b.decide(Labor(), observations(6, last_hours=20))
    assert [(d.value, d.status, d.attempts) for d in decisions] == [
        (50, "ok", 1),
        (20, "fallback", 3),
        (50, "retried", 2),
        (20, "fallback", 1),  # a prompt too long stays too long
        (70, "repaired", 1),
        (50, "ok", 1),
    ]
    assert b.accounts.of("llm", "labor").statuses == {
        "ok": 2,
        "fallback": 2,
        "retried": 1,
        "repaired": 1,
    }
    # only the unusable were asked again: 6, then 2, then 1
    assert [r.draw.attempt for r in engine.asked] == [0] * 6 + [1] * 2 + [2]
    assert b.usage.calls == 9
    assert b.usage.fallbacks == 2
    assert b.usage.prompt_tokens == 100 * 8  # an error has no usage
    stored = transcript.get_decisions(seed=0, kind="labor", year=0, day=0, cohort="llm")
    assert {agent: (d.status, json.loads(d.decision)) for agent, d in stored.items()}[1] == (
        "fallback",
        20,
    )


def test_a_retry_says_what_was_wrong(transcript):
    engine = by_agent(lambda agent, attempt: '{"hours": 400}' if attempt == 0 else '{"hours": 40}')
    bridge(engine, transcript).decide(Labor(), observations(1))
    first, second = engine.asked
    assert second.messages[:2] == first.messages
    assert second.messages[2].content == '{"hours": 400}'
    assert "hours must be between 0 and 100" in second.messages[3].content


def test_what_the_transcript_holds_is_not_asked_again(tmp_path):
    path = tmp_path / "transcript.sqlite"
    rng = np.random.default_rng(0)

    def reply(agent, attempt):
        return json.dumps({"hours": int(rng.integers(11)) * 10}) if agent else "no"

    def live(engine):
        transcript = Transcript(path)
        b = bridge(engine, transcript)
        try:
            return b.decide(Labor(), observations(5)), b.usage
        finally:
            transcript.close()

    first, usage = live(by_agent(reply))
    engine = by_agent(lambda agent, attempt: pytest.fail("asked again"))
    again, usage_again = live(engine)
    assert again == first
    assert engine.asked == []
    assert replace(usage_again, seconds=0) == replace(usage, seconds=0)


def test_what_was_answered_survives_a_dying_engine(tmp_path):
    """An engine that dies in the middle of a batch: its answers are stored, and only the rest is
    asked for later.
    """
    path = tmp_path / "transcript.sqlite"

    def dying(agent, attempt):
        if agent == 3:
            raise EngineError("gone")
        return json.dumps({"hours": agent * 10})

    transcript = Transcript(path)
    with pytest.raises(EngineError, match="gone"):
        bridge(by_agent(dying), transcript).decide(Labor(), observations(6))
    transcript.close()
    transcript = Transcript(path)
    engine = by_agent(lambda agent, attempt: json.dumps({"hours": agent * 10}))
    decisions = bridge(engine, transcript).decide(Labor(), observations(6))
    transcript.close()
    assert [d.value for d in decisions] == [0, 10, 20, 30, 40, 50]
    assert [r.draw.agent for r in engine.asked] == [3, 4, 5]


def test_equal_prompts_do_not_share_an_answer(transcript):
    """Same words, another agent, day or seed: another draw."""
    engine = by_agent(lambda agent, attempt: '{"hours":40}')
    b = bridge(engine, transcript)
    b.decide(Labor(), observations(2))
    b.decide(Labor(), observations(2, day=1))
    bridge(engine, transcript, seed=1).decide(Labor(), observations(2))
    assert len(engine.asked) == 6
    assert len({r.messages for r in engine.asked}) == 2  # one per day's wording


def test_an_empty_batch_is_no_call(transcript):
    engine = by_agent(lambda agent, attempt: pytest.fail("asked"))
    assert bridge(engine, transcript).decide(Labor(), []) == []


@dataclass
class DayOutcome:
    hours: np.ndarray
    income: np.ndarray
    tax: np.ndarray
    rebate: float
    utility: np.ndarray


def test_llm_workers_decide_remember_and_fall_back(transcript):
    skill = np.array([100.0, 200.0])
    cohort = Cohort(
        skill, np.ones(2), je.Preferences.annualised(max_hours=60.0), skill * 30, np.ones(2), "llm"
    )
    engine = by_agent(lambda agent, attempt: '{"hours":50}' if agent == 0 else "no")
    workers = LLMWorkers(bridge(engine, transcript, retries=0), {"llm": cohort}, settings())
    schedule = je.TaxSchedule.flat(0.3)
    # 40 until a first answer
    np.testing.assert_array_equal(workers.decide(0, 0, schedule, 0.0)["llm"], [50, 40])
    workers.observe(
        0, 0, {"llm": DayOutcome(np.array([50.0, 40.0]), skill * 50, skill, 5.0, skill)}, 0.0
    )
    workers.decide(0, 1, schedule, 5.0)
    told = engine.asked[-2].messages[1].content
    # what the day brought, with an effort of 0.026 x 50^3.5; and what the hours bring at this tax
    assert (
        "Year 1 day 1: 50 hours: income 5,000 - tax 100 - effort 22,981 = -18,081; rebate 5\n"
        in told
    )
    assert "\n50 hours: -19,481 (1 day)\n" in told
    assert engine.asked[-2].schema["properties"]["hours"]["enum"] == [0, 10, 20, 30, 40, 50, 60]


def test_llm_planner_moves_rates_and_keeps_them_on_failure(transcript):
    schedule = je.TaxSchedule.three_bracket([0.1, 0.5, 0.95])
    answers = iter(['{"changes":[-20,10,20]}', "no", "no", "no"])
    planner = LLMPlanner(
        bridge(ScriptedEngine(lambda request: Completion(next(answers))), transcript), settings()
    )
    state = planner.init(PlannerContext(schedule, 3), None)
    three = np.array([0.5, 0.3, 0.2])
    seen = YearObservation(
        0, 3, schedule, 10.0, 40.0, 50_000.0, 9_000.0, three, three * 1e5, three * 1e5
    )
    moved, state = planner.propose(state, seen, None)
    np.testing.assert_allclose(moved.rates, [0.0, 0.6, 1.0])
    kept, state = planner.propose(state, replace(seen, year=1, schedule=moved, welfare=5.0), None)
    np.testing.assert_array_equal(kept.rates, moved.rates)
    schedules = state.memory.schedules
    assert schedules.last_year[:3].tolist() == [0, 1, -1]  # the better one first
    np.testing.assert_allclose(schedules.rates[0], schedule.rates)
    assert schedules.value[:2].tolist() == [10.0, 5.0]
    assert state.memory.welfare[:2].tolist() == [10.0, 5.0]


@given(
    st.text(max_size=30),
    st.integers(0, 2**32 - 1),
    st.floats(0, 2),
    st.sampled_from([None, {"type": "object", "properties": {"ü": {"enum": [1, 2]}}}]),
)
def test_keys_are_of_one_json_object(text, number, temperature, schema):
    """Put together from parts, the hashed text is what the json module writes of the whole."""
    text = text.encode(errors="ignore").decode()
    draw = Draw(number, "labor", number, 3, text, number)
    request = Request(
        (Message("system", text), Message("user", text * 2)),
        schema,
        Sampling(temperature),
        draw,
        template="a1",
    )
    identity = {"model": text, "engine": "x"}
    content = {
        "identity": identity,
        "sampling": vars(request.sampling),
        "messages": [[m.role, m.content] for m in request.messages],
        "schema": schema,
        "draw": vars(draw),
        "template": "a1",
    }
    whole = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert request_key(identity, request) == hashlib.sha256(whole.encode()).hexdigest()


@pytest.mark.parametrize("breaks", ["llm", "big"])
@pytest.mark.parametrize(
    "error", [Interrupted(signal.SIGINT), EngineError("gone")], ids=["interrupted", "dead"]
)
def test_what_ends_one_engines_batch_ends_the_others_at_their_next_answer(
    error, breaks, transcript
):
    """Two engines at work: an interruption or a death of the one does not wait for a hundred
    answers of the other, which is not started again when it dies of the same.
    """
    begun = threading.Event()

    def slow(request):
        begun.set()
        time.sleep(0.05)
        if len(other.asked) > 1:
            raise EngineError("gone too")
        return Completion('{"hours": 40}', usage=Usage(10, 0, 5))

    def broken(request):
        assert begun.wait(10)
        raise error

    def restart():
        pytest.fail("an engine was started that nobody waits for")

    other = ScriptedEngine(slow)
    working = "big" if breaks == "llm" else "llm"
    served = {
        breaks: ServedModel(ScriptedEngine(broken)),
        working: ServedModel(other, restart=restart),
    }
    asked = Bridge(served, transcript, seed=0, sampling=Sampling(), retries=0)
    seen = {breaks: observations(1), working: observations(100)}
    with pytest.raises(type(error), match=str(error)):
        asked.decide(
            Labor(), [replace(o, cohort=cohort) for cohort in ("llm", "big") for o in seen[cohort]]
        )
    assert 1 <= len(other.asked) <= 2
    assert transcript.counts().requests == asked.usage.calls == 1  # what was paid for is kept


def test_an_interruption_leaves_the_answers_that_came(transcript):
    """Of the engine that goes on until its next answer, too."""
    begun = threading.Event()

    def slow(request):
        begun.set()
        time.sleep(0.05)
        return Completion('{"hours": 40}', usage=Usage(10, 0, 5))

    def broken(request):
        assert begun.wait(10)
        raise Interrupted(signal.SIGINT)

    other = ScriptedEngine(slow)
    asked = Bridge(
        {"llm": ServedModel(ScriptedEngine(broken)), "big": ServedModel(other)},
        transcript,
        seed=0,
        sampling=Sampling(),
        retries=0,
    )
    with pytest.raises(Interrupted):
        asked.decide(
            Labor(), [*observations(1), *(replace(o, cohort="big") for o in observations(100))]
        )
    assert 1 <= len(other.asked) < 50
    assert transcript.counts().requests == asked.usage.calls == len(other.asked)
