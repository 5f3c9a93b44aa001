"""The real vLLM engine on the real local model."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jaxecon.core.errors import EngineError, UserError
from llm.engines.base import Engine
from llm.messages import Completion, Draw, Message, Request, Sampling

if TYPE_CHECKING:
    from llm.engines.vllm import VLLMEngine

pytestmark = pytest.mark.engine

HOURS = {
    "type": "object",
    "properties": {"hours": {"type": "integer", "enum": list(range(0, 101, 10))}},
    "required": ["hours"],
    "additionalProperties": False,
}
RULES = (
    "You are a worker who earns wages. "
    + "Income is skill times hours. Taxes are taken by bracket. Work costs effort. " * 12
)


def ask(
    text: str, *, agent: int = 0, schema: dict[str, Any] | None = HOURS, max_tokens: int = 16
) -> Request:
    messages = (Message("system", RULES), Message("user", text))
    return Request(
        messages, schema, Sampling(0.7, 1.0, max_tokens), Draw(0, "labor", 0, 0, "workers", agent)
    )


def collect(engine: "VLLMEngine", requests: list[Request]) -> list[Completion]:
    """The completions by index; each index must be reported once."""
    got: dict[int, Completion] = {}

    def keep(index: int, completion: Completion) -> None:
        assert index not in got
        got[index] = completion

    engine.complete(requests, on_completion=keep)
    assert sorted(got) == list(range(len(requests)))
    return [got[index] for index in range(len(requests))]


def workers(count: int, day: int = 0) -> list[Request]:
    return [
        ask(
            f"You are worker {i} on day {day}. How many hours do you work? Answer in JSON.", agent=i
        )
        for i in range(count)
    ]


def test_it_is_an_engine_and_says_what_answers(engine: "VLLMEngine") -> None:
    from llm.engines import models
    from llm.engines.vllm import engine_identity

    assert isinstance(engine, Engine)
    folder = models.resolve("smollm2")
    assert engine.identity == engine_identity("smollm2") == engine_identity(str(folder))
    assert engine.identity["weights"] == models.fingerprint(folder)
    assert set(engine.identity) == {"engine", "model", "weights", "template"}
    assert engine.description["max_model_len"] == 2048
    json.dumps(engine.description)


def test_the_schema_is_honoured_and_completions_come_as_they_finish(engine: "VLLMEngine") -> None:
    requests = [*workers(24), ask("Write a long story about taxes.", schema=None, max_tokens=64)]
    order: list[int] = []
    completions: dict[int, Completion] = {}

    def keep(index: int, completion: Completion) -> None:
        order.append(index)
        completions[index] = completion

    engine.complete(requests, on_completion=keep)
    assert sorted(order) == list(range(25))
    assert order[-1] == 24, (
        "the longest answer did not come last, so completions waited for each other"
    )
    for index in range(24):
        answer = json.loads(completions[index].text)
        assert set(answer) == {"hours"}
        assert answer["hours"] in range(0, 101, 10)
        assert completions[index].error is None
        assert completions[index].finish_reason == "stop"
        assert 0 < completions[index].usage.completion_tokens <= 16
        assert 0 < completions[index].seconds <= completions[24].seconds
    assert completions[24].finish_reason == "length"
    assert completions[24].usage.completion_tokens == 64


def test_answers_belong_to_their_requests(engine: "VLLMEngine") -> None:
    schemas = [
        {
            "type": "object",
            "properties": {"n": {"const": i}},
            "required": ["n"],
            "additionalProperties": False,
        }
        for i in range(30)
    ]
    completions = collect(
        engine, [ask(f"Question {i}.", agent=i, schema=schema) for i, schema in enumerate(schemas)]
    )
    assert [json.loads(c.text)["n"] for c in completions] == list(range(30))


def test_failures_stay_with_their_request(engine: "VLLMEngine") -> None:
    requests = workers(9)
    requests[4] = ask("word " * 2500)
    requests[6] = ask("Hours?", schema={"type": "no such type"})
    completions = collect(engine, requests)
    too_long, bad_schema = completions[4], completions[6]
    tokens = engine.prompt_tokens(requests[4])
    assert (
        too_long.error
        == f"the prompt has {tokens} tokens, more than llm.max_model_len - max_tokens = {2048 - 16}"
    )
    assert too_long.text == bad_schema.text == ""
    assert bad_schema.error
    assert "\n" not in bad_schema.error
    assert all(c.error is None for i, c in enumerate(completions) if i not in (4, 6))


def test_the_longest_prompt_that_fits_is_answered(engine: "VLLMEngine") -> None:
    words = next(
        n for n in range(2000, 0, -1) if engine.prompt_tokens(ask("word " * n)) <= 2048 - 16
    )
    (completion,) = collect(engine, [ask("word " * words)])
    assert completion.error is None
    assert completion.usage.prompt_tokens == engine.prompt_tokens(ask("word " * words))


def test_the_second_batch_finds_the_rules_in_the_cache(engine: "VLLMEngine") -> None:
    collect(engine, workers(4, day=1))
    second = collect(engine, workers(4, day=2))
    assert all(128 <= c.usage.cached_tokens < c.usage.prompt_tokens for c in second)


def test_many_short_chats_at_once(engine: "VLLMEngine") -> None:
    """Chunked prefill, which a per-request seed would not survive on a CPU."""
    chats = [
        Request(
            (Message("user", f"Hours of worker {i}?"),),
            HOURS,
            Sampling(),
            Draw(1, "labor", 0, 0, "w", i),
        )
        for i in range(60)
    ]
    assert all(c.error is None for c in collect(engine, chats))


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, ZeroDivisionError])
def test_an_interrupted_batch_leaves_nothing_behind(
    engine: "VLLMEngine", interruption: type[BaseException]
) -> None:
    seen: list[int] = []

    def interrupt(index: int, completion: Completion) -> None:
        seen.append(index)
        raise interruption

    story = [ask("Write a long story.", agent=i, schema=None, max_tokens=200) for i in range(8)]
    with pytest.raises(interruption):
        engine.complete([*workers(2), *story], on_completion=interrupt)
    assert len(seen) == 1
    assert all(json.loads(c.text)["hours"] % 10 == 0 for c in collect(engine, workers(5)))


def test_ctrl_c_while_the_engine_works(engine: "VLLMEngine") -> None:
    """Interrupted at the first answer, when the long ones are under way whatever the machine's
    load.
    """
    story = [
        ask("Write a long story.", agent=i, schema=None, max_tokens=1 if i == 0 else 1000)
        for i in range(8)
    ]
    with pytest.raises(KeyboardInterrupt):
        engine.complete(
            story, on_completion=lambda index, completion: os.kill(os.getpid(), signal.SIGINT)
        )
    assert all(c.error is None for c in collect(engine, workers(5)))


def test_an_empty_batch(engine: "VLLMEngine") -> None:
    assert collect(engine, []) == []


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"model": "smollm2", "max_model_len": 100_000}, EngineError, "max_model_len"),
        ({"model": "smollm2", "dtype": "float3"}, EngineError, "float3"),
        ({"model": "smollm2", "kv_cache_gib": 1e6}, UserError, "llm.kv_cache_gib: 1000000.0 needs"),
        ({"model": "smolm2"}, UserError, "did you mean 'smollm2'"),
    ],
)
def test_what_cannot_start_says_so_in_one_line(
    engine: "VLLMEngine", options: dict[str, Any], error: type[Exception], words: str
) -> None:
    from llm.engines.vllm import VLLMEngine

    with pytest.raises(error, match=words) as refused:
        VLLMEngine(**options)
    assert "\n" not in str(refused.value)


# From here on: engines of their own, half a minute each, so last.


@pytest.fixture
def second_engine(engine: "VLLMEngine") -> "VLLMEngine":
    from llm.engines.vllm import VLLMEngine

    return VLLMEngine(model="smollm2", kv_cache_gib=0.5)


def test_a_killed_engine_is_an_engine_error(second_engine: "VLLMEngine") -> None:
    processes = second_engine._processes
    assert len(processes) >= 1
    timer = threading.Timer(1.0, processes[0].kill)
    story = [ask("Write a long story.", agent=i, schema=None, max_tokens=1000) for i in range(8)]
    timer.start()
    with pytest.raises(EngineError, match="the vLLM engine died") as died:
        second_engine.complete(story, on_completion=lambda index, completion: None)
    assert "\n" not in str(died.value)
    with pytest.raises(EngineError):
        second_engine.complete(workers(1), on_completion=lambda index, completion: None)
    second_engine.close()
    second_engine.close()
    assert not any(process.is_running() for process in processes)
    with pytest.raises(EngineError, match="closed"):
        second_engine.complete(workers(1), on_completion=lambda index, completion: None)


SCRIPT = """
import os, signal, sys, time
import jax.numpy as jnp
jnp.ones(8).sum().block_until_ready()  # JAX has its threads before the engine starts
from llm.messages import Draw, Message, Request, Sampling
from llm.engines.vllm import VLLMEngine

print("script", flush=True)
engine = VLLMEngine(model="smollm2", kv_cache_gib=0.5)
print("processes", *[p.pid for p in engine._processes], flush=True)
draw = Draw(0, "labor", 0, 0, "w", 0)
request = Request((Message("user", "Hours?"),), None, Sampling(max_tokens=4), draw)
signal.signal(signal.SIGINT, signal.SIG_IGN)
# Ctrl-C reaches the whole group; the engine must be there to finish the day
os.killpg(0, signal.SIGINT)
time.sleep(1)
total = lambda: float(jnp.ones(8).sum())
engine.complete([request], on_completion=lambda i, c: print("answer", c.error, total(), flush=True))
if sys.argv[1] == "close":
    engine.close()
else:
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("end", ["close", "killed"])
def test_a_plain_script_with_jax(engine: "VLLMEngine", tmp_path: Path, end: str) -> None:
    """No __main__ guard, a quiet terminal, an engine that outlives Ctrl-C and never outlives its
    script.
    """
    import psutil

    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), end],
        capture_output=True,
        text=True,
        start_new_session=True,
        timeout=300,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["script", "processes", "answer"]
    assert lines[2] == "answer None 8.0"
    pids = [int(pid) for pid in lines[1].split()[1:]]
    if end == "close":
        assert done.returncode == 0
        assert done.stderr == ""
        assert not any(map(psutil.pid_exists, pids))
    else:
        assert done.returncode == -signal.SIGKILL
        assert _within(15.0, lambda: not any(map(_runs, pids)))


def _runs(pid: int) -> bool:
    import psutil

    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def _within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True
