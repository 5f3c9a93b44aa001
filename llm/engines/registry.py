"""Every engine by name: what it needs, and how it is started.

The names are those of `jaxecon.config.names.ENGINES`, and of the setting `llm.engine`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jaxecon.config.language import Serving
from llm.engines import models
from llm.engines.base import Engine
from llm.engines.openai.address import Extras, check_openai
from llm.engines.openai.engine import OpenAIEngine
from llm.engines.replayed import ReplayEngine, transcript_path
from llm.engines.simulated import SimulatedEngine
from llm.engines.vllm import VLLMEngine


@dataclass(frozen=True)
class EngineKind:
    """One way to serve a model.

    check: raises UserError where a model, a key, a package or a transcript is missing. start:
    starts an engine from the settings, the run's seed, and the names of the cohorts that it will
    answer; raises UserError and EngineError, one line each. restarts: whether it is started again,
    once, if it dies: an engine in this process may have run out of memory, which the next one need
    not.
    """

    check: Callable[[Serving], object]
    start: Callable[[Serving, int, Sequence[str]], Engine]
    restarts: bool = False


def _start_vllm(settings: Serving, seed: int, cohorts: Sequence[str]) -> Engine:
    return VLLMEngine(
        model=settings.model,
        dtype=settings.dtype,
        max_model_len=settings.max_model_len,
        kv_cache_gib=settings.kv_cache_gib,
        memory_share=settings.gpu_memory_share,
        seed=seed,
    )


def _start_openai(settings: Serving, seed: int, cohorts: Sequence[str]) -> Engine:
    return OpenAIEngine(
        settings.model,
        base_url=settings.base_url,
        api_key_env=settings.api_key_env,
        max_connections=settings.max_connections,
        requests_per_minute=settings.requests_per_minute,
        tokens_per_minute=settings.tokens_per_minute,
        timeout_seconds=settings.timeout_seconds,
        transport_retries=settings.transport_retries,
        patience_seconds=settings.patience_seconds,
        max_model_len=settings.max_model_len,
        extras=_extras(settings),
    )


def _extras(settings: Serving) -> Extras:
    return Extras(settings.extra_body, settings.headers, settings.query)


ENGINES: dict[str, EngineKind] = {
    "vllm": EngineKind(
        check=lambda settings: models.resolve(settings.model), start=_start_vllm, restarts=True
    ),
    "openai": EngineKind(
        check=lambda settings: check_openai(
            settings.base_url, settings.api_key_env, _extras(settings)
        ),
        start=_start_openai,
    ),
    "simulated": EngineKind(
        check=lambda settings: None, start=lambda settings, seed, cohorts: SimulatedEngine()
    ),
    "replay": EngineKind(
        check=lambda settings: transcript_path(settings.transcript or ""),
        start=lambda settings, seed, cohorts: ReplayEngine(
            transcript_path(settings.transcript or ""), cohorts
        ),
    ),
}
