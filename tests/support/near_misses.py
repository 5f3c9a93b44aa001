"""Answers to every kind of decision, and forms that models write in place of plain JSON."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from jaxecon.config.survey import Question
from llm.decisions.base import Parsed
from llm.decisions.candidacy import parse_candidacy
from llm.decisions.labor import parse_labor
from llm.decisions.persona import parse_persona
from llm.decisions.rate_changes import parse_plan
from llm.decisions.satisfaction import parse_satisfaction
from llm.decisions.survey import parse_answer
from llm.decisions.vote import parse_vote

HOURS = tuple(range(0, 101, 10))


class Asked(NamedTuple):
    """A kind of decision, an answer to it, what the answer means, and another answer."""

    parse: Callable[[str], Parsed[Any]]
    answer: dict[str, Any]
    value: Any
    other: dict[str, Any]


_CHOICE = Question(name="a", ask="?", choices=("yes", "no"))
_NUMBER = Question(name="b", ask="?", number=(0, 500_000))
_TEXT = Question(name="c", ask="?", text=200)

ASKED = {
    "labor": Asked(lambda t: parse_labor(t, HOURS), {"hours": 40}, 40, {"hours": 60}),
    "plan": Asked(
        lambda t: parse_plan(t, 3),
        {"changes": [10, -20, 0]},
        (10, -20, 0),
        {"changes": [0, 0, 0]},
    ),
    "satisfaction": Asked(parse_satisfaction, {"satisfied": True}, True, {"satisfied": False}),
    "vote": Asked(lambda t: parse_vote(t, "plurality", 3), {"vote": 2}, (2,), {"vote": 3}),
    "approval": Asked(
        lambda t: parse_vote(t, "approval", 3), {"approve": [3, 1]}, (3, 1), {"approve": [2]}
    ),
    "ranking": Asked(
        lambda t: parse_vote(t, "borda", 3), {"ranking": [3, 1, 2]}, (3, 1, 2), {"ranking": [1]}
    ),
    "candidacy": Asked(
        lambda t: parse_candidacy(t, 2),
        {"stand": True, "changes": [10, -20]},
        (10, -20),
        {"stand": False, "changes": [0, 0]},
    ),
    "persona": Asked(parse_persona, {"persona": "A welder"}, "A welder", {"persona": "A cook"}),
    "choice": Asked(lambda t: parse_answer(t, _CHOICE), {"answer": "no"}, "no", {"answer": "yes"}),
    "number": Asked(lambda t: parse_answer(t, _NUMBER), {"answer": 5600}, 5600, {"answer": 900}),
    "text": Asked(
        lambda t: parse_answer(t, _TEXT), {"answer": "It pays"}, "It pays", {"answer": "No"}
    ),
}

# Kinds whose value alone is an answer: one field, and not a text.
BARE = ("labor", "plan", "vote", "approval", "ranking", "number")

# Forms of the object. Each takes the text of an object, near JSON or not, and makes another one.
OBJECT_FORMS: dict[str, Callable[[str], str]] = {
    "trailing comma": lambda t: t[:-1] + ",}",
    "line comment": lambda t: "{ // my answer\n" + t[1:],
    "block comment": lambda t: t[:-1] + " /* final */ }",
    "python comment": lambda t: t[:-1] + "\n# that is all\n}",
}
ENVELOPES: dict[str, Callable[[str], str]] = {
    "answer": lambda t: f'{{"answer": {t}}}',
    "response": lambda t: f'{{"Response": {t}}}',
    "schema": lambda t: f'{{"type": "object", "properties": {t}}}',
    "tool": lambda t: f'{{"name": "decision", "arguments": {t}}}',
    "list": lambda t: f"[{t}]",
}
# What stands around an answer, once it is made.
SURROUNDINGS: dict[str, Callable[[str], str]] = {
    "fence": lambda t: f"```json\n{t}\n```",
    "fence without a name": lambda t: f"```\n{t}\n```",
    "words": lambda t: f"Sure! Here is my answer:\n\n{t}\n\nLet me know if you need more.",
    "byte order mark": lambda t: f"\ufeff{t}",
    "tag": lambda t: f"<answer>{t}</answer>",
    "end of turn": lambda t: f"{t}<|im_end|>",
    "the same twice": lambda t: f"{t}\n{t}",
}
DRAFTS: dict[str, Callable[[str, str], str]] = {
    "think": lambda t, d: f"<think>\nMaybe {d}?\n</think>\n\n{t}",
    "closed only": lambda t, d: f"Perhaps {d} first. Hmm.\n</think>\n\n{t}",
    "thinking": lambda t, d: f"<thinking>{d}</thinking>{t}",
    "Thinking": lambda t, d: f"<Thinking>{d}</Thinking>{t}",
    "thought": lambda t, d: f"<thought>{d}</thought>{t}",
    "reasoning": lambda t, d: f"<reasoning>{d}</reasoning>{t}",
    "namespace": lambda t, d: f"<seed:think>{d}</seed:think>{t}",
    "brackets": lambda t, d: f"[THINK]{d}[/THINK]{t}",
    "triangles": lambda t, d: f"◁think▷{d}◁/think▷{t}",
    "bars": lambda t, d: f"<|begin_of_thought|>{d}<|end_of_thought|>{t}",
    "capitals": lambda t, d: f"<|START_THINKING|>{d}<|END_THINKING|>{t}",
    "twice": lambda t, d: f"<think>a</think>{d}<think>b {d}</think>{t}",
    "reason": lambda t, d: f"<reason>{d}</reason>\n{t}",
    "short": lambda t, d: f"<cot>{d}</cot>{t}",
    "long": lambda t, d: f"<chain_of_thought>{d}</chain_of_thought>{t}",
    "inner": lambda t, d: f"<inner_monologue>{d}</inner_monologue>{t}",
    "internal": lambda t, d: f"<internal_thoughts>{d}</internal_thoughts>{t}",
    "attribute": lambda t, d: f'<think time="3">{d}</think>{t}',
    "escaped": lambda t, d: f"&lt;think&gt;{d}&lt;/think&gt;\n{t}",
    "capital brackets": lambda t, d: f"[REASONING]{d}[/REASONING]{t}",
    "start and end": lambda t, d: f"<|think_start|>{d}<|think_end|>{t}",
    "final response": lambda t, d: f"{d}\n[BEGIN FINAL RESPONSE]\n{t}\n[END FINAL RESPONSE]",
    "channel": lambda t, d: f"<|channel>thought\n{d}<channel|>{t}",
    "folded": lambda t, d: (
        f'<details type="reasoning" done="true"><summary>Thought</summary>{d}</details>\n{t}'
    ),
    "harmony": lambda t, d: (
        f"<|channel|>analysis<|message|>{d}<|end|><|start|>assistant<|channel|>final"
        f"<|message|>{t}<|return|>"
    ),
    "harmony, constrained": lambda t, d: (
        f"<|channel|>analysis<|message|>{d}<|end|><|channel|>final <|constrain|>json<|message|>{t}"
    ),
    "harmony without marks": lambda t, d: f"analysisWe may say {d}.assistantfinal{t}",
}


def json_text(answer: dict[str, Any]) -> str:
    return json.dumps(answer, ensure_ascii=False)


def _each(answer: dict[str, Any], form: Callable[[int], Any]) -> dict[str, Any]:
    """The answer with its numbers in another form."""

    def changed(value: Any) -> Any:
        if isinstance(value, list):
            return [changed(item) for item in value]
        return form(value) if type(value) is int else value

    return {name: changed(value) for name, value in answer.items()}


def _full_width(number: int) -> str:
    return str(number).translate({ord("0") + i: 0xFF10 + i for i in range(10)} | {45: 0xFF0D})


# Forms of the whole answer: other names of fields, other quotes, other numbers.
ANSWER_FORMS: dict[str, Callable[[dict[str, Any]], str]] = {
    "JSON": json_text,
    "capitals": lambda a: json_text({name.capitalize(): v for name, v in a.items()}),
    "all capitals": lambda a: json_text({name.upper(): v for name, v in a.items()}),
    "spaces in names": lambda a: json_text({f" {name} ": v for name, v in a.items()}),
    "python": repr,
    "names without quotes": lambda a: (
        "{" + ", ".join(f"{name}: {json.dumps(v)}" for name, v in a.items()) + "}"
    ),
    "typographic quotes": lambda a: (
        json_text(a)
        .replace('{"', "{“")
        .replace(', "', ", “")
        .replace('"', "”")
        .replace(": ”", ": “")
    ),
    "numbers as texts": lambda a: json_text(_each(a, str)),
    "floats": lambda a: json_text(_each(a, float)),
    "float texts": lambda a: json_text(_each(a, lambda n: f"{n}.0")),
    "full width": lambda a: json_text(_each(a, _full_width)),
    "signs": lambda a: (
        json_text(_each(a, lambda n: f"@{n:+d}@")).replace('"@', "").replace('@"', "")
    ),
    "sign texts": lambda a: json_text(_each(a, lambda n: f"{n:+d}")),
    "minus signs": lambda a: json_text(_each(a, lambda n: str(n).replace("-", "\u2212"))),
}
