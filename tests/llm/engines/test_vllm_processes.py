"""Engines that do not start, that are killed, and that outlive nothing: each test has its own."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jaxecon.core.errors import EngineError, UserError

if TYPE_CHECKING:
    pass

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("local_model")]


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
    options: dict[str, Any], error: type[Exception], words: str
) -> None:
    from llm.engines.vllm import VLLMEngine

    with pytest.raises(error, match=words) as refused:
        VLLMEngine(**options)
    assert "\n" not in str(refused.value)


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
def test_a_plain_script_with_jax(tmp_path: Path, end: str) -> None:
    """No __main__ guard, a quiet terminal, an engine that outlives Ctrl-C and never outlives its
    script.
    """
    import psutil

    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = _ended(script, end)
    if "Assertion failed: !_sink (src/pipe.cpp" in done.stderr:
        # Seen once in some hundred ends: as vLLM's own process goes, a race between its threads
        # makes libzmq abort it. No answer is lost. Twice in a row it would be ours.
        done = _ended(script, end)
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


def _ended(script: Path, end: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(script), end],
        capture_output=True,
        text=True,
        start_new_session=True,
        timeout=300,
        check=False,
    )


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
