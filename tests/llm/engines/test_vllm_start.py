"""What is said where vLLM does not start, with a stand-in for vLLM."""

import sys
from contextlib import nullcontext
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from jaxecon.core.errors import EngineError
from llm.engines import models
from llm.engines import vllm as vllm_engine

SETTINGS = ("llm.kv_cache_gib", "llm.gpu_memory_share", "device=cpu")


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (
            RuntimeError(
                "Engine core initialization failed. See root cause above. Failed core proc(s): {}"
            ),
            True,
        ),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (
            ValueError(
                "Free memory on device (3/80 GiB) is less than desired GPU memory utilization"
            ),
            True,
        ),
        (ValueError("Model architectures ['X'] are not supported for now."), False),
    ],
)
def test_a_start_that_fails_for_want_of_memory_names_the_settings(
    error: Exception, memory: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise error

    vllm, platforms = ModuleType("vllm"), ModuleType("vllm.platforms")
    vllm.__spec__ = ModuleSpec("vllm", None)
    vars(vllm)["LLM"] = refuse
    vars(platforms)["current_platform"] = SimpleNamespace(is_cpu=lambda: False)
    monkeypatch.setitem(sys.modules, "vllm", vllm)
    monkeypatch.setitem(sys.modules, "vllm.platforms", platforms)
    monkeypatch.setattr(models, "resolve", lambda model: Path("/model"))
    monkeypatch.setattr(vllm_engine, "_start_environment", lambda **_: nullcontext())
    with pytest.raises(EngineError, match="the vLLM engine did not start: ") as failed:
        vllm_engine.VLLMEngine(model="m")
    said = str(failed.value)
    assert str(error) in said
    assert "\n" not in said
    assert [setting in said for setting in SETTINGS] == [memory] * 3
