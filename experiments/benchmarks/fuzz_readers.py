"""What reads text and files of other people, and inputs to try on each: right ones, damaged ones
and made-up ones. All inputs are bytes, so that one that breaks a reader can be kept as a file.
"""

import json
import random
import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from jaxecon.config.fields import setting_names
from jaxecon.config.read import load_config
from jaxecon.core.errors import UserError
from jaxecon.economy.microdata import read_microdata
from jaxecon.simulation.run import run
from jaxecon.storage.paths import MANIFEST, TRANSCRIPT
from jaxecon.storage.run import Run
from jaxecon.sweeps import design
from llm.decisions.base import Unusable
from llm.decisions.samples import in_order
from llm.decisions.template_check import KIND_OF_TEMPLATE
from llm.engines.openai.completion import completion_of
from llm.engines.openai.failure import RequestFailure
from llm.engines.openai.redaction import Redaction
from llm.engines.openai.reply_body import decoded, json_of
from llm.messages import Draw, Message, Request, Sampling
from llm.transcript.reader import TranscriptReader

_REPLIES = (
    b'{"hours": 40}',
    b'{"satisfied": true}',
    b'{"changes": [10, 0, -10]}',
    b'{"rates": [10, 20, 30]}',
    b'{"stand": false}',
    b'{"persona": "You weld."}',
    b'{"vote": 1}',
    b'{"approve": [1]}',
    b'{"ranking": [1]}',
    b'{"answer": "yes"}',
)
_MESSAGES = (
    b'{"choices": [{"message": {"content": "40"}, "finish_reason": "stop"}],'
    b' "usage": {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {}}}',
    b'{"choices": [{"message": {"content": [{"type": "text", "text": "a"}], "refusal": null}}]}',
    b'{"choices": [{"message": {"reasoning_content": "{\\"hours\\": 1}"}}], "usage": {}}',
    b'{"choices": [{"message": {"tool_calls": [{"function": {"arguments": "{}"}}]}}]}',
    b'{"error": {"message": "no", "code": 400}}',
    b"<!doctype html><title>502 Bad Gateway</title>",
)
_STREAMS = (
    b'data: {"choices": [{"delta": {"role": "assistant", "content": "4"}}]}\n\n'
    b'data: {"choices": [{"delta": {"content": "0"}, "finish_reason": "stop"}]}\n\n'
    b'data: {"choices": [], "usage": {"prompt_tokens": 9}}\n\ndata: [DONE]\n\n',
    b': ping\n\nevent: error\ndata: {"error": {"message": "no"}}\n\n',
)
_RUN: dict[str, Any] = {
    "years": 1,
    "year": {"days": 2},
    "population": {"mechanical": 4, "llm": 2},
    "llm": {"engine": "simulated"},
    "planner": {"compared_with": []},
}
# Parts of texts that have broken readers, of these and of other programs.
_PARTS = (
    *("0777", "1:30", "1_000", "1e999", "-0", ".nan", "9" * 400, "0x" + "F" * 400, "yes", "~"),
    *("<<", "*a", "&a ", "!!int ", "? ", "- ", "[" * 60, "{a: " * 60, "---\n", "\t", "\r", "\0"),
    *("²", "\u202e", "\ud7ff", "[red]", "\x1b[31m", '"', "'", "#", "=", "[0]", "..", ",", ";"),
    *("null", "true", "{}", "[]", '{"', '\\ud800"', "NaN", "-Infinity", "<think>", "```json\n"),
)


NAMES = (
    *("settings", "option", "yaml", "design", "microdata"),
    *(f"reply to {name}" for name in KIND_OF_TEMPLATE),
    *("server's reply", "server's stream", "manifest", "transcript"),
)


class Broken(Exception):
    """What a reader did other than read an input, or refuse it in one line."""


@dataclass(frozen=True)
class Reader:
    """Something that reads an input.

    read: raises UserError or Unusable, of one line, for a wrong input. seeds: right inputs.
    """

    read: Callable[[bytes], Any]
    seeds: Sequence[bytes]

    def inputs(self) -> st.SearchStrategy[bytes]:
        """Right inputs, damaged ones, and ones that are made up from the parts of text."""
        made_up = st.lists(st.text(max_size=4) | st.sampled_from(_PARTS) | _SETTINGS, max_size=12)
        damaged = st.builds(
            _damaged, st.sampled_from(list(self.seeds)), st.integers(0, 2**32), st.integers(1, 6)
        )
        joined = made_up.map(lambda parts: "".join(parts).encode("utf-8", "surrogatepass"))
        return damaged | joined | st.binary(max_size=60)


_SETTINGS = st.sampled_from(
    [f"{name}{sign}" for name in setting_names() for sign in (": ", "=", "")]
)


def check(reader: Reader, data: bytes) -> bool:
    """Whether the reader takes the input. Raises Broken unless it does or refuses it properly."""
    try:
        reader.read(data)
    except (UserError, Unusable) as refused:
        if not str(refused) or "\n" in str(refused):
            raise Broken(f"not one line: {str(refused)!r:.200}") from refused
        return False
    except (Exception, SystemExit) as error:
        raise Broken(f"{type(error).__name__}: {error!s:.200}") from error
    return True


def readers(folder: Path, names: Sequence[str] = NAMES) -> dict[str, Reader]:
    """Readers by their names.

    folder: an empty one, for the files that they read.
    """
    made: dict[str, Reader] = {
        "settings": Reader(_read_settings, [json.dumps(_RUN).encode(), b"{}"]),
        "option": Reader(
            lambda data: load_config(None, [data.decode("utf-8", "surrogateescape")]),
            [b"year.days=16", b"schedule.rates=[0.1, 0.2]", b"population.cohorts=[{name: a}]"],
        ),
        "yaml": Reader(
            lambda data: load_config(_file(folder / "settings.yaml", data)),
            [b"years: 3\nyear: {days: 5}\n", b"a: &a {b: 1}\nc: {<<: *a}\n", b"seed: 0x1F\n"],
        ),
        "design": Reader(
            lambda data: design.read(_file(folder / "design.yaml", data)),
            [b"run: {years: 2}\ngrid:\n  seed: [1, 2]\n", b"seeds: 3\n"],
        ),
        "microdata": Reader(
            lambda data: read_microdata(_file(folder / "people.csv", data)),
            [b"skill,weight\n1000.5,1\n2000,99\n", b"income;weight\n10,5;2\n", b"skill\n5\n"],
        ),
        "server's reply": Reader(lambda data: _completion(data, "application/json"), _MESSAGES),
        "server's stream": Reader(lambda data: _completion(data, "text/event-stream"), _STREAMS),
        **{f"reply to {name}": Reader(_reply_reader(name), _REPLIES) for name in KIND_OF_TEMPLATE},
    }
    if {"manifest", "transcript"} & set(names):
        made |= _readers_of_runs(folder)
    return {name: made[name] for name in names}


def _read_settings(data: bytes) -> None:
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):  # made up by this program, and no mapping of settings
        return
    load_config(tree)


def _reply_reader(name: str) -> Callable[[bytes], Any]:
    kind: Any = KIND_OF_TEMPLATE[name]
    observation = in_order(name)[0]

    def reply(data: bytes) -> Any:
        return kind.parse(data.decode("utf-8", "replace"), observation)

    return reply


def _completion(data: bytes, content_type: str) -> None:
    """Read the body of a server's reply, as the engine for servers does."""
    redaction = Redaction("a key of a server")
    request = Request(
        (Message("user", "hours?"),), None, Sampling(), Draw(0, "labor", 1, 0, "w", 0)
    )
    try:
        reply = json_of(decoded(data, content_type), content_type, redaction)
        completion_of(reply, request, 0.1, redaction, note=lambda words: None)
    except RequestFailure as failure:
        raise Unusable(str(failure)) from failure


def _readers_of_runs(folder: Path) -> dict[str, Reader]:
    """Readers of the files of a small run with simulated answers, which is made first."""
    right = folder / "run"
    run(_RUN, out=right)
    damaged = folder / "damaged"
    shutil.copytree(right, damaged)

    def manifest(data: bytes) -> None:
        _file(damaged / MANIFEST, data)
        opened = Run(damaged)
        _ = opened.summary, opened.diagnostics, opened.last_year

    def transcript(data: bytes) -> None:
        for rest in folder.glob("transcript.sqlite-*"):  # SQLite's own, of the file before
            rest.unlink()
        with closing(TranscriptReader(_file(folder / TRANSCRIPT, data))) as opened:
            opened.totals()
            opened.identities(None)
            list(opened.conversations())
            list(opened.decisions())

    return {
        "manifest": Reader(manifest, [(right / MANIFEST).read_bytes()]),
        "transcript": Reader(transcript, [(right / TRANSCRIPT).read_bytes()]),
    }


def _file(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _damaged(data: bytes, seed: int, times: int) -> bytes:
    """An input after some changes: bytes and parts that are cut, doubled, moved or replaced."""
    draw = random.Random(seed)
    for _ in range(times):
        at, to = sorted((draw.randint(0, len(data)), draw.randint(0, len(data))))
        part = draw.choice(_PARTS).encode("utf-8", "surrogatepass")
        change = draw.randrange(6)
        if change == 0:
            data = data[:at] + data[to:]
        elif change == 1:
            data = data[:to] + data[at:]
        elif change == 2:
            data = data[:at] + part + data[at:]
        elif change == 3:
            data = data[:at] + draw.randbytes(draw.randint(1, 4)) + data[at + 1 :]
        elif change == 4:
            data = data[:at]
        else:
            values = list(re.finditer(rb"[-\w.]+", data))
            if values:
                value = draw.choice(values)
                data = data[: value.start()] + part + data[value.end() :]
    return data
