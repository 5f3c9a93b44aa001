"""Replies of models, and ways in which they may be damaged."""

import json
import random
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from support.decisions import HOURS, observations

from jaxecon.planners import possible_changes
from llm.decisions.base import DecisionKind, Parsed, Unusable
from llm.decisions.labor import Labor
from llm.decisions.persona import MAX_PERSONA, DescribePersona, PersonaObservation
from llm.decisions.plan import BracketGroup, Plan, PlanObservation
from llm.decisions.samples import in_order
from llm.decisions.satisfaction import Satisfaction, SatisfactionObservation
from llm.decisions.shared import Bracket, EconomyFacts
from llm.decisions.survey import AnswerQuestion

_FILE = Path(__file__).parents[1] / "llm" / "decisions" / "real_replies.json"
REPLIES = json.loads(_FILE.read_text(encoding="utf-8"))


MAX_SECONDS = 0.5  # for one reply, on a busy machine


def plan(brackets: int) -> PlanObservation:
    schedule = tuple(Bracket(20_000.0 * k, 0.3) for k in range(brackets))
    groups = tuple(BracketGroup(1 / brackets, 2e4, 100.0, 6e3) for _ in range(brackets))
    return PlanObservation(
        year=1,
        economy=EconomyFacts(years=3),
        cohort="llm",
        agent=0,
        brackets=schedule,
        history=(),
        groups=groups,
        mean_hours=40.0,
        mean_income=4e4,
        rebate=9e3,
    )


# By the names of real_replies.json: the kind and an observation of it.
ASKED: dict[str, tuple[DecisionKind[Any, Any], Any]] = {
    "labor": (Labor(), observations(1)[0]),
    "plan_3": (Plan(), plan(3)),
    "plan_7": (Plan(), plan(7)),
    "satisfaction": (
        Satisfaction(),
        SatisfactionObservation(
            year=0,
            day=2,
            cohort="llm",
            agent=0,
            economy=EconomyFacts(days=4),
            brackets=(Bracket(0, 0.3),),
            skill=100.0,
            persona="",
            hours=40,
            income=4e4,
            tax=1e4,
            rebate=5e3,
            satisfied=False,
        ),
    ),
    "persona": (DescribePersona(), PersonaObservation("llm", 0, "You are a welder.")),
    **{
        f"survey_{o.question.form}": (AnswerQuestion(), replace(o, cohort="llm"))
        for o in in_order("survey")
    },
}


def in_range(name: str, value: Any) -> bool:
    match name:
        case "labor":
            return type(value) is int and value in HOURS
        case "satisfaction":
            return type(value) is bool
        case "persona":
            value.encode()  # can be stored and sent
            return 0 < len(value) <= MAX_PERSONA and len(value.splitlines()) == 1
        case "survey_choice":
            return value in ("yes", "no")
        case "survey_number":
            return type(value) is int and 0 <= value <= 500_000
        case "survey_text":
            value.encode()
            return 0 < len(value) <= 200 and len(value.splitlines()) == 1
    return len(value) == int(name[-1]) and all(
        type(c) is int and c in possible_changes() for c in value
    )


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
