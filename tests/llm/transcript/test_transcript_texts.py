"""Texts: each line stored once, and any text back as it was."""

import sqlite3
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.transcripts import ANSWER, IDENTITY, ask, put

from llm.messages import Message
from llm.transcript.keys import request_key
from llm.transcript.store import Transcript


def test_each_text_is_stored_once(tmp_path: Path) -> None:
    transcript = Transcript(tmp_path / "t.sqlite")
    rules = "rules that all agents share. " * 1000
    for agent in range(200):
        asked = replace(
            ask(agent), messages=(Message("system", rules), Message("user", f"worker {agent % 10}"))
        )
        put(transcript, asked, ANSWER)
    assert transcript.counts().requests == 200
    assert transcript.counts().texts == 11
    transcript.close()
    assert (tmp_path / "t.sqlite").stat().st_size < 200 * len(rules) / 20


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.text(
            st.characters(exclude_categories=("Cs",)) | st.sampled_from("\r\n\x00\u2028\x85\x0c ab")
        ),
        max_size=6,
    )
)
def test_any_text_comes_back_as_it_was(texts: list[str]) -> None:
    roles: list[Any] = ["system", "user", "assistant"]
    messages = tuple(Message(roles[i % 3], text) for i, text in enumerate(texts))
    with tempfile.TemporaryDirectory() as folder:
        transcript = Transcript(Path(folder) / "t.sqlite")
        put(transcript, replace(ask(), messages=messages), replace(ANSWER, text="".join(texts)))
        (conversation,) = transcript.conversations()
        transcript.close()
    told: Any = conversation["messages"]
    assert tuple(Message(m["role"], m["content"]) for m in told) == messages
    assert conversation["response"] == "".join(texts)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "\r\n",
        "a\r\nb\rc\n",
        "no end",
        "\x00",
        "a\x00\n\x00",
        "\n" * 500,
        "é\u2028🙂\ufeff\ufffe",
    ],
)
def test_awkward_texts(tmp_path: Path, text: str) -> None:
    transcript = Transcript(tmp_path / "t.sqlite")
    for agent in range(2):  # new lines, then known ones
        put(transcript, ask(agent, text=text), ANSWER)
    assert [c["messages"][1]["content"] for c in transcript.conversations()] == [text, text]
    transcript.close()


def test_a_lone_surrogate_cannot_be_asked_for() -> None:
    with pytest.raises(UnicodeEncodeError):
        request_key(IDENTITY, ask(text="\ud800"))


def test_a_history_that_grows_costs_its_new_lines(tmp_path: Path) -> None:
    """Bytes per request depend neither on the day nor on how long the history is."""
    transcript = Transcript(tmp_path / "t.sqlite")
    lines = [
        f"Year 1 day {day}: 40 hours, income {day * 7919:,}, utility {day * 104729:,}\n"
        for day in range(600)
    ]
    for day in range(600):
        put(
            transcript,
            ask(day=day, text="".join(lines[max(0, day - 100) : day]) + "How many hours?"),
            ANSWER,
        )
    assert transcript.counts().texts == 1 + 599 + 1
    transcript.close()
    # the texts themselves have 5,000 characters each
    assert (tmp_path / "t.sqlite").stat().st_size / 600 < 600


def test_lines_of_a_failed_put_are_forgotten(tmp_path: Path) -> None:
    """A put that fails after its lines were stored removes them; the next stores them again."""
    transcript = Transcript(tmp_path / "t.sqlite")
    nothing: Any = None
    with pytest.raises(sqlite3.IntegrityError):
        put(transcript, ask(text="new line"), replace(ANSWER, finish_reason=nothing))
    put(transcript, ask(1, text="another"), ANSWER)
    put(transcript, ask(2, text="new line"), ANSWER)
    assert [c["messages"][1]["content"] for c in transcript.conversations()] == [
        "another",
        "new line",
    ]
    transcript.close()
