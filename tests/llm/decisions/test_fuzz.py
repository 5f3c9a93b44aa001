"""Whatever a model says: a value in range or Unusable, in bounded time; and each agent gets what
its own reply said.

The replies in real_replies.json are the local model's, made by make_real_replies.py.
"""

import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_bridge import observations

from jaxecon.planners import changes
from llm.bridge import Bridge, ServedModel
from llm.decisions.base import AnyObservation, DecisionKind, Parsed, Unusable
from llm.decisions.labor import Labor
from llm.decisions.persona import MAX_PERSONA, DescribePersona, PersonaObservation
from llm.decisions.plan import BracketGroup, Plan, PlanObservation
from llm.decisions.satisfaction import Satisfaction, SatisfactionObservation
from llm.decisions.wording import Bracket
from llm.engines.scripted import ScriptedEngine
from llm.messages import Completion, Sampling, Usage
from llm.transcript.store import Transcript

REPLIES = json.loads(Path(__file__).with_name("real_replies.json").read_text(encoding="utf-8"))
HOURS = tuple(range(0, 101, 10))
MAX_SECONDS = 0.5  # for one reply, on a busy machine


def plan(brackets: int) -> PlanObservation:
    schedule = tuple(Bracket(20_000.0 * k, 0.3) for k in range(brackets))
    groups = tuple(BracketGroup(1 / brackets, 2e4, 100.0) for _ in range(brackets))
    return PlanObservation(1, "llm", 0, schedule, (), (), groups, 40.0, 4e4, 9e3)


# By the names of real_replies.json: the kind and an observation of it.
ASKED: dict[str, tuple[DecisionKind[Any, Any], Any]] = {
    "labor": (Labor(), observations(1)[0]),
    "plan_3": (Plan(), plan(3)),
    "plan_7": (Plan(), plan(7)),
    "satisfaction": (
        Satisfaction(),
        SatisfactionObservation(
            0, 2, "llm", 0, (Bracket(0, 0.3),), 100.0, "", 40, 4e4, 1e4, 5e3, satisfied=False
        ),
    ),
    "persona": (DescribePersona(), PersonaObservation("llm", 0, "You are a welder.")),
}
NAMES = st.sampled_from(list(ASKED))


def in_range(name: str, value: Any) -> bool:
    match name:
        case "labor":
            return type(value) is int and value in HOURS
        case "satisfaction":
            return type(value) is bool
        case "persona":
            value.encode()  # can be stored and sent
            return 0 < len(value) <= MAX_PERSONA and len(value.splitlines()) == 1
    return len(value) == int(name[-1]) and all(type(c) is int and c in changes() for c in value)


def read(name: str, text: str) -> Parsed | None:
    """What the kind reads, checked; None where it says that it cannot."""
    kind, observation = ASKED[name]
    started = time.thread_time()
    parsed, problem = None, "none"
    try:
        parsed = kind.parse(text, observation)
    except Unusable as unusable:
        problem = str(unusable)
    assert time.thread_time() - started < MAX_SECONDS
    assert parsed is None or in_range(name, parsed.value), (name, text, parsed)
    assert 0 < len(problem) < 200
    assert len(problem.splitlines()) == 1
    return parsed


# --- (a) what the model really said


def test_real_replies() -> None:
    usable = Counter(reply["kind"] for reply in REPLIES if read(reply["kind"], reply["text"]))
    asked = Counter(reply["kind"] for reply in REPLIES)
    assert len(REPLIES) == 120
    assert set(asked) == set(ASKED)
    assert all(0 < usable[kind] < asked[kind] for kind in asked), usable
    assert {reply["finish_reason"] for reply in REPLIES} == {"stop", "length"}


# --- (b) the same, damaged

Damage = Callable[[random.Random, str], str]

VALUES = (
    *(
        "-1",
        "1e999",
        "-1e999",
        "NaN",
        "-Infinity",
        "1e-400",
        "40.5",
        "4_0",
        "٤٠",
        "0x28",
        "1e1",
        "-0",
        "-0.0",
        "",
        "+40",
    ),
    *("9" * 309, "-" + "9" * 400, "9" * 5000, "0." + "0" * 400 + "1"),
    *(
        '"40"',
        '"nan"',
        '"-inf"',
        '"1e999"',
        '"4_0"',
        f'"{"9" * 5000}"',
        '"yes"',
        '"NO "',
        '""',
        '"\\ud83d"',
        '"\\u0000"',
        "'40'",
    ),
    *(
        "true",
        "null",
        "[]",
        "[40]",
        '{"hours":40}',
        "[[[0]]]",
        '{"a":{"b":[null]}}',
        "[10,10,10]",
        "[10," * 50 + "0" + "]" * 50,
    ),
)
JUNK = (
    "\u202e",
    "\u200b",
    "\ufeff",
    "\0",
    "\u2028",
    "🙂",
    "👩‍🌾",
    "e\u0301",
    "ß",
    "漢",
    "\x1b[31m",
    "\\",
    "\\u12",
    "“",
    "{",
    "}",
    "[",
    "]",
)
AROUND = (
    *(
        "Sure! {}",
        "{}\nI hope this helps.",
        "```json\n{}\n```",
        "```\n{}",
        "<think>{{}}</think>{}",
        "[{}]",
        '{{"answer": {}}}',
    ),
    *(
        "{}{}",
        "{},{}",
        '"{}"',
        "\ufeff{}",
        "{{{}}}",
        "{} or {{}}",
        'x = {};\n{{"hours": 10}}',
        "/* {{ */ {}",
    ),
)


def cut(draw: random.Random, text: str) -> str:
    return (
        text[: draw.randrange(len(text) + 1)]
        if draw.random() < 0.7
        else text[draw.randrange(len(text) + 1) :]
    )


def flip(draw: random.Random, text: str) -> str:
    data = bytearray(text.encode())
    for _ in range(draw.randint(1, 3)):
        if data:
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return data.decode(errors="replace")


def swap(draw: random.Random, text: str) -> str:
    at = draw.randrange(len(text) + 1)
    return (
        text[:at]
        + chr(
            draw.choice(
                (draw.randrange(32, 127), draw.randrange(0xD800), draw.randrange(0x1F300, 0x1F600))
            )
        )
        + text[at + 1 :]
    )


def repeat(draw: random.Random, text: str) -> str:
    start, end = sorted(draw.randrange(len(text) + 1) for _ in range(2))
    return text[:end] + text[start:end] * draw.choice((1, 1, 2, 50)) + text[end:]


def drop(draw: random.Random, text: str) -> str:
    marks = [m.start() for m in re.finditer(r'[][{}":,]', text)]
    at = draw.choice(marks) if marks else 0
    return text[:at] + text[at + 1 :]


def insert(draw: random.Random, text: str) -> str:
    at = draw.randrange(len(text) + 1)
    return text[:at] + "".join(draw.choices(JUNK, k=draw.randint(1, 3))) + text[at:]


def replace_value(draw: random.Random, text: str) -> str:
    spans = [m.span() for m in re.finditer(r'-?\d+|true|false|"[^"]*"(?!\s*:)', text)]
    start, end = draw.choice(spans) if spans else (0, 0)
    return text[:start] + draw.choice(VALUES) + text[end:]


def repeat_key(draw: random.Random, text: str) -> str:
    pairs = [m.group() for m in re.finditer(r'"\w+"\s*:\s*(\[[^]]*\]|[^,}]+)', text)]
    return text.replace("}", "," + draw.choice(pairs) + "}", 1) if pairs else text


def rename_key(draw: random.Random, text: str) -> str:
    name = draw.choice(
        ("Hours", "hours ", "h\\u006furs", "changes", "satisfied", "persona", "", "__class__")
    )
    return re.sub(r'"\w+"\s*:', lambda _: f'"{name}":', text, count=1)


def surround(draw: random.Random, text: str) -> str:
    form = draw.choice(AROUND)
    return form.format(*[text] * form.count("{}"))


def nest(draw: random.Random, text: str) -> str:
    opening, closing = draw.choice(
        (("[", "]"), ('{"a":', "}"), ('[{"":', "}]"), ("{", "}"), ('{"', '"}'))
    )
    depth = draw.choice((3, 60, 150, 985, 10_000))
    deep = opening * depth + draw.choice(("", "1", text)) + closing * draw.choice((0, depth))
    return deep if draw.random() < 0.5 else text.replace("}", f',"x":{deep}}}', 1)


def pad(draw: random.Random, text: str) -> str:
    padding = (
        draw.choice((" ", "\n", "x", "{", "\\", '"', "9", "{}", "é", '{"hours":40}')) * 1_000_000
    )
    return draw.choice((padding + text, text + padding, text.replace(":", ":" + padding, 1)))[
        :1_000_000
    ]


DAMAGES: tuple[Damage, ...] = (
    *(
        cut,
        flip,
        swap,
        repeat,
        drop,
        insert,
        replace_value,
        replace_value,
        repeat_key,
        rename_key,
        surround,
    ),
)
GROSS: tuple[Damage, ...] = (nest, pad)


def damaged(draw: random.Random, text: str, gross: float) -> str:
    """One to three damages; gross: the share of the texts that become huge."""
    for damage in draw.choices(DAMAGES, k=draw.choice((1, 1, 2, 3))):
        text = damage(draw, text)
    return draw.choice(GROSS)(draw, text) if draw.random() < gross else text


def test_damaged_replies() -> None:
    """Half of them made from usable replies: every damage is survived, and some leaves the answer
    readable.
    """
    draw = random.Random(0)
    good = [reply for reply in REPLIES if read(reply["kind"], reply["text"])]
    usable = 0
    for i in range(10_000):
        reply = draw.choice(good if i % 2 else REPLIES)
        usable += read(reply["kind"], damaged(draw, reply["text"], gross=0.05)) is not None
    assert 800 < usable < 9_000


@pytest.mark.parametrize(
    "damage", [*dict.fromkeys(DAMAGES), *GROSS], ids=lambda damage: damage.__name__
)
def test_every_damage_to_a_plain_answer(damage: Damage) -> None:
    answers = {
        "labor": '{"hours": 40}',
        "plan_3": '{"changes": [10, 0, -20]}',
        "satisfaction": '{"satisfied": true}',
        "persona": '{"persona": "You weld."}',
    }
    for seed in range(15 if damage in GROSS else 60):
        for name, text in answers.items():
            read(name, damage(random.Random(seed), text))


@pytest.mark.parametrize("name", ASKED)
def test_no_depth_is_too_much(name: str) -> None:
    """Near the recursion limit, too, where a decoder may still read what an encoder or a comparison
    cannot.
    """
    field = {"labor": "hours", "satisfaction": "satisfied", "persona": "persona"}.get(
        name, "changes"
    )
    for depth in (150, 3_000, 10_000, *range(880, 1_000)):
        lists = "[" * depth + "]" * depth
        objects = '{"a":' * depth + "1" + "}" * depth
        for text in (
            lists,
            objects,
            f'{{"{field}":{lists}}}',
            f'{{"{field}":{lists}}}' * 2,
            '{"a":' * depth,
            '[{"a":' * depth,
        ):
            assert read(name, text) is None
        read(name, f'{{"hours":40,"satisfied":true,"persona":"me","changes":[0,0,0],"x":{lists}}}')


def test_numbers_beyond_a_float_and_half_characters() -> None:
    for digits in (308, 309, 4300, 4301):
        assert read("labor", f'{{"hours": {"9" * digits}}}') is None
        assert read("plan_3", f'{{"changes": [0, 0, -{"9" * digits}]}}') is None
    assert read("persona", '{"persona": "You \\ud83d weld."}') == Parsed(
        "You ? weld.", repaired=True
    )
    assert read("persona", '{"persona": "You \\ud83d\\ude42 weld."}') == Parsed("You 🙂 weld.")


# --- (c) anything at all, and every way to write a right answer

FIELDS = ("hours", "changes", "satisfied", "persona", "reasoning")
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from((40, -20, "yes", 10**310)),
    lambda inner: (
        st.lists(inner, max_size=7)
        | st.dictionaries(st.sampled_from(FIELDS) | st.text(), inner, max_size=4)
    ),
    max_leaves=10,
)


@settings(deadline=None, max_examples=300)
@given(
    NAMES,
    st.text()
    | JSON.map(json.dumps)
    | st.tuples(st.text(), JSON.map(json.dumps), st.text()).map("".join),
)
def test_anything_at_all(name: str, text: str) -> None:
    read(name, text)


LINES = st.text(
    st.characters(exclude_categories=("Cs", "Zs", "Zl", "Zp", "Cc")), min_size=1, max_size=40
)
ANSWERS = st.one_of(
    st.tuples(st.just("labor"), st.sampled_from(HOURS).map(lambda hours: {"hours": hours})),
    *(
        st.tuples(
            st.just(f"plan_{n}"),
            st.lists(st.sampled_from(changes()), min_size=n, max_size=n).map(
                lambda c: {"changes": c}
            ),
        )
        for n in (3, 7)
    ),
    st.tuples(st.just("satisfaction"), st.booleans().map(lambda yes: {"satisfied": yes})),
    st.tuples(
        st.just("persona"),
        st.lists(LINES, min_size=1, max_size=4).map(lambda words: {"persona": " ".join(words)}),
    ),
)
SPACE = st.text(" \t\r\n", max_size=3)


@settings(deadline=None, max_examples=300)
@given(
    ANSWERS,
    st.none() | st.text(max_size=240),
    st.booleans(),
    st.booleans(),
    st.sampled_from((None, 0, 3, "\t")),
    st.tuples(SPACE, SPACE),
    st.tuples(SPACE, SPACE),
)
def test_a_right_answer_in_any_style_is_itself(
    answer: tuple[str, dict[str, Any]],
    reasoning: str | None,
    reasoning_last: bool,
    escaped: bool,
    indent: int | str | None,
    around: tuple[str, str],
    colon: tuple[str, str],
) -> None:
    name, given_ = answer
    thought = {} if reasoning is None else {"reasoning": reasoning}
    whole = {**given_, **thought} if reasoning_last else {**thought, **given_}
    separators = ("," + colon[0], colon[0] + ":" + colon[1])
    text = (
        around[0]
        + json.dumps(whole, ensure_ascii=escaped, indent=indent, separators=separators)
        + around[1]
    )
    (value,) = given_.values()
    assert read(name, text) == Parsed(
        tuple(value) if isinstance(value, list) else value, repaired=False
    )


# --- (d) through the bridge: everybody's decision is its own


def crowd(name: str, count: int) -> list[Any]:
    observation: AnyObservation = ASKED[name][1]
    return [replace(observation, agent=i) for i in range(count)]  # type: ignore[type-var]


def expected(name: str, texts: Sequence[str]) -> tuple[Any, str, int]:
    """What one agent's replies, in order, come to."""
    for attempt, text in enumerate(texts):
        parsed = read(name, text)
        if parsed is not None:
            return (
                parsed.value,
                "retried" if attempt else "repaired" if parsed.repaired else "ok",
                attempt + 1,
            )
    kind, observation = ASKED[name]
    return kind.fallback(observation), "fallback", len(texts)


@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize("seed", range(2))
def test_every_agent_gets_what_its_own_reply_said(name: str, seed: int, tmp_path: Path) -> None:
    kind, retries = ASKED[name][0], 2
    texts = [reply["text"] for reply in REPLIES if reply["kind"] == name]
    said: dict[tuple[int, int], str] = {}

    def reply(request: Any) -> Completion:
        draw = request.draw
        own = random.Random(f"{seed} {draw.agent} {draw.attempt}")
        assert (draw.agent, draw.attempt) not in said
        text = said[draw.agent, draw.attempt] = damaged(own, own.choice(texts), gross=0.02)
        return Completion(
            text, own.choice(("stop", "length")), Usage(own.randrange(500), 0, own.randrange(100))
        )

    transcript = Transcript(tmp_path / "transcript.sqlite")
    bridge = Bridge(
        {"llm": ServedModel(ScriptedEngine(reply))},
        transcript,
        seed=seed,
        sampling=Sampling(),
        retries=retries,
    )
    asked = crowd(name, 80)
    decisions = bridge.decide(kind, asked)
    conversations = list(transcript.conversations())
    stored = transcript.get_decisions(
        seed=seed, kind=kind.name, year=asked[0].year, day=asked[0].day, cohort="llm"
    )
    transcript.close()

    replies_of = [
        [said[i, attempt] for attempt in range(retries + 1) if (i, attempt) in said]
        for i in range(len(asked))
    ]
    assert [(d.value, d.status, d.attempts) for d in decisions] == [
        expected(name, own) for own in replies_of
    ]
    assert [d.attempts for d in decisions] == list(map(len, replies_of))
    account = bridge.accounts["llm", kind.name]
    assert account.statuses == Counter(d.status for d in decisions)
    assert account.statuses.total() == len(decisions) == len(asked)
    assert {"retried", "fallback"} <= set(account.statuses)
    assert {(c["agent"], c["attempt"]): c["response"] for c in conversations} == said
    assert account.calls == len(conversations) == len(said)
    assert account.prompt_tokens == sum(c["usage"]["prompt_tokens"] for c in conversations)
    as_stored = partial(json.dumps, ensure_ascii=True)
    assert {i: (s.status, s.decision, s.attempts) for i, s in stored.items()} == {
        i: (d.status, as_stored(d.value), d.attempts) for i, d in enumerate(decisions)
    }
