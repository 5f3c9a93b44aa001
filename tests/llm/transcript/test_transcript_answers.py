"""How many different answers a transcript holds, counted beside a program of its own."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from llm.messages import Draw
from llm.transcript.answers import Answers
from llm.transcript.rows import StoredDecision
from llm.transcript.store import Transcript

Decided = dict[Draw, tuple[Any, Any]]


def written(path: Path, decided: Decided, seed: int = 0) -> Transcript:
    """A transcript of decisions, stored in random order."""
    transcript = Transcript(path)
    entries = [
        (draw, StoredDecision(status, json.dumps(value), 1))
        for draw, (value, status) in decided.items()
    ]
    random.Random(seed).shuffle(entries)
    transcript.put_decisions(entries)
    return transcript


def plans(*values: Any, seed: int = 0, cohort: str = "planner") -> Decided:
    return {
        Draw(seed, "plan", year, 0, cohort, 0): (value, "ok") for year, value in enumerate(values)
    }


def sequence(tmp_path: Path, name: str, decided: Decided) -> str:
    transcript = written(tmp_path / name, decided)
    (answers,) = transcript.answers(by=("kind",)).values()
    transcript.close()
    return answers.sequence


def test_they_are_counted_as_they_were_decided(tmp_path: Path) -> None:
    rng = random.Random(1)
    decided: Decided = {}
    for year in range(4):
        for agent in range(6):
            for kind in ("labor", "satisfaction"):
                value = rng.choice([0, 40, 50]) if kind == "labor" else rng.random() < 0.5
                status = rng.choice(["ok", "repaired", "retried", "fallback"])
                draw = Draw(7, kind, year, rng.randrange(9), "ab"[agent % 2], agent)
                decided[draw] = (value, status)
    transcript = written(tmp_path / "t.sqlite", decided)

    def check(found: dict[tuple[str, ...], Answers], by: tuple[str, ...], **chosen: Any) -> None:
        selected = {
            draw: of for draw, of in decided.items() if chosen.items() <= vars(draw).items()
        }
        groups = {tuple(getattr(draw, name) for name in by) for draw in selected}
        assert list(found) == sorted(groups)
        for group in groups:
            those = [
                of
                for draw, of in selected.items()
                if tuple(getattr(draw, name) for name in by) == group
            ]
            usable = Counter(json.dumps(value) for value, status in those if status != "fallback")
            answers = found[group]
            assert (answers.decisions, answers.usable) == (len(those), usable.total())
            assert answers.distinct == len(usable)
            assert answers.most_frequent_count == max(usable.values(), default=0)
            if usable:
                assert usable[str(answers.most_frequent)] == answers.most_frequent_count

    check(transcript.answers(), ("cohort", "kind"))
    check(transcript.answers(by=("kind",)), ("kind",))
    check(transcript.answers(kind="labor", year=2), ("cohort", "kind"), kind="labor", year=2)
    assert transcript.answers(kind="vote") == {}
    transcript.close()


def test_an_answer_that_is_nothing_is_an_answer_and_a_fallback_is_none(tmp_path: Path) -> None:
    stands = {Draw(0, "candidacy", 1, 0, "w", agent): (None, "ok") for agent in range(2)}
    fallen = {Draw(0, "candidacy", 1, 0, "x", agent): (None, "fallback") for agent in range(2)}
    transcript = written(tmp_path / "t.sqlite", stands | fallen)
    found = transcript.answers()
    transcript.close()
    one, none = found["w", "candidacy"], found["x", "candidacy"]
    assert (one.decisions, one.usable, one.distinct) == (2, 2, 1)
    assert (one.most_frequent, one.most_frequent_count) == ("null", 2)
    assert (none.decisions, none.usable, none.distinct) == (2, 0, 0)
    assert (none.most_frequent, none.most_frequent_count) == (None, 0)


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (plans([10], [0], [-10]), True),
        (plans([10], [0], [-10], seed=5), True),  # of other draws
        (plans([10], [-10], [0]), False),  # as often, at other times
        (plans([10], [0], [-10], [0]), False),
        (plans([10], [0]), False),
        (plans([10], [0], [-10], cohort="other"), False),
        (plans([10], [0], None), False),
    ],
)
def test_a_sequence_is_what_was_decided_when_and_by_whom(
    tmp_path: Path, other: Decided, same: bool
) -> None:
    one = sequence(tmp_path, "one.sqlite", plans([10], [0], [-10]))
    assert (sequence(tmp_path, "other.sqlite", other) == one) is same


def test_a_fallback_is_no_part_of_a_sequence(tmp_path: Path) -> None:
    decided = plans([10], [0], [-10])
    fallen = decided | {Draw(0, "plan", 1, 0, "planner", 0): ([0], "fallback")}
    left_out = {draw: of for draw, of in decided.items() if draw.year != 1}
    assert sequence(tmp_path, "fallen.sqlite", fallen) == sequence(
        tmp_path, "left_out.sqlite", left_out
    )
    assert sequence(tmp_path, "all.sqlite", decided) != sequence(tmp_path, "again.sqlite", left_out)
