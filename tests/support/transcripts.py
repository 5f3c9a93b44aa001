"""Requests, and what tests do with transcripts of them."""

import subprocess
import sys
from typing import Any

from llm.messages import Completion, Draw, Message, Request, Sampling, Usage
from llm.transcript.keys import request_key
from llm.transcript.store import Transcript

IDENTITY = {"engine": "vllm", "model": "smollm2", "weights": "w", "template": "t"}


def ask(
    agent: int = 0,
    *,
    day: int = 0,
    year: int = 0,
    kind: str = "labor",
    text: str = "Wie viele Stunden? 你好 \x00 🙂",
) -> Request:
    schema: dict[str, Any] | None = {"type": "object"} if agent % 2 else None
    return Request(
        (Message("system", "rules"), Message("user", text)),
        schema,
        Sampling(),
        Draw(3, kind, year, day, "w", agent),
    )


def put(transcript: Transcript, asked: Request, completion: Completion) -> str:
    key = request_key(IDENTITY, asked)
    transcript.put(key, IDENTITY, asked, completion)
    return key


ANSWER = Completion('{"hours":40}', "stop", Usage(270, 128, 8), 1.25)


WRITER = """
import sys
from llm.messages import Completion, Draw, Message, Request, Sampling, Usage
from llm.transcript.keys import request_key
from llm.transcript.store import Transcript

transcript, turn = Transcript(sys.argv[1]), int(sys.argv[2])
for i in range(1_000_000):
    messages = (Message("system", "rules " * 100), Message("user", f"{turn} {i} " * 50))
    asked = Request(messages, {}, Sampling(), Draw(0, "labor", turn, i, "w", 0))
    key = request_key({"model": "m"}, asked)
    transcript.put(key, {"model": "m"}, asked, Completion(f"{turn} {i}"))
    transcript.put_decision(asked.draw, "ok", str(i), 1)
    print(key, f"{turn} {i}", flush=True)
"""


def as_user(
    program: str, *arguments: object, prelude: str = ""
) -> subprocess.CompletedProcess[str]:
    """A program that prints a UserError; root becomes a user whom permissions concern."""
    lines = [
        "import os, sys",
        "from jaxecon.core.errors import UserError",
        "from llm.transcript.store import Transcript",
        prelude,
    ]
    lines += [
        "try:",
        *(f"    {line}" for line in program.splitlines()),
        "except UserError as error: print('UserError', error)",
    ]
    command = [sys.executable, "-c", "\n".join(lines), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done
