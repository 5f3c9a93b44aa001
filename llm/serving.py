"""From settings to engines: what answers which cohort."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path

from jaxecon.config.language import Serving
from jaxecon.config.people import LLM_RULE
from jaxecon.config.settings import Config
from llm.agents.planner import PLANNER
from llm.bridge import ServedModel
from llm.engines import models
from llm.engines.base import Engine
from llm.engines.simulated import SimulatedEngine


def check(config: Config) -> None:
    """Raise UserError where a model, a key, a package or a transcript is missing that an engine
    will need.
    """
    for serving in config.servings.values():
        match serving.engine:
            case "vllm":
                models.resolve(serving.model)
            case "openai":
                from llm.engines.openai.engine import check_openai

                check_openai(serving.base_url, serving.api_key_env)
            case "replay":
                from llm.engines.replayed import transcript_path

                transcript_path(serving.transcript or "")


def asked_by(config: Config) -> dict[str | None, list[str]]:
    """The cohorts (and the planner's) that each model answers, by the model's name in llm.others."""
    asked: dict[str | None, list[str]] = {}
    for cohort in config.cohorts:
        if cohort.rule == LLM_RULE:
            asked.setdefault(cohort.llm, []).append(cohort.name)
    if config.planner_kind == "llm":
        asked.setdefault(config.planner.llm, []).append(PLANNER)
    return asked


@contextmanager
def serving(config: Config, given: Engine | None = None) -> Iterator[dict[str, ServedModel]]:
    """What serves each cohort, by its name; everything started here is closed.

    given: an engine for `llm` that stays open.
    """
    by_cohort: dict[str, ServedModel] = {}
    started: list[ServedModel] = []
    try:
        for name, cohorts in asked_by(config).items():
            settings = config.servings[name]
            start = partial(engine, settings, config.seed, cohorts)
            served = ServedModel(
                given if name is None and given is not None else start(),
                start
                if settings.engine == "vllm" and (name is not None or given is None)
                else None,
                settings.max_model_len,
                settings.price,
            )
            if served.engine is not given:
                started.append(served)
            by_cohort |= dict.fromkeys(cohorts, served)
        yield by_cohort
    finally:
        for served in started:
            served.engine.close()


@contextmanager
def replaying(
    config: Config, transcript: Path, identities: Mapping[str, Mapping[str, str]]
) -> Iterator[dict[str, ServedModel]]:
    """What serves each cohort of a run that is lived again, by its name: its own answers.

    identities: of what gave them.
    """
    from llm.engines.replayed import ReplayEngine

    with ExitStack() as stack:
        by_cohort: dict[str, ServedModel] = {}
        for name, cohorts in asked_by(config).items():
            settings = config.servings[name]
            again = stack.enter_context(
                closing(ReplayEngine(transcript, identity=identities[cohorts[0]]))
            )
            by_cohort |= dict.fromkeys(
                cohorts, ServedModel(again, None, settings.max_model_len, settings.price)
            )
        yield by_cohort


def engine(settings: Serving, seed: int, cohorts: list[str]) -> Engine:
    """Start what the settings name. Raises UserError and EngineError, one line each."""
    match settings.engine:
        case "simulated":
            return SimulatedEngine()
        case "replay":
            from llm.engines.replayed import ReplayEngine, transcript_path

            return ReplayEngine(transcript_path(settings.transcript or ""), cohorts)
        case "openai":
            from llm.engines.openai.engine import OpenAIEngine

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
            )
        case "vllm":
            from llm.engines.vllm import VLLMEngine

            return VLLMEngine(
                model=settings.model,
                dtype=settings.dtype,
                max_model_len=settings.max_model_len,
                kv_cache_gib=settings.kv_cache_gib,
                memory_share=settings.gpu_memory_share,
                seed=seed,
            )


def manifest(served: Mapping[str, ServedModel]) -> dict[str, dict[str, object]]:
    """What a run's manifest says of the models, by cohort."""
    return {
        cohort: {**one.engine.identity, **one.engine.description} for cohort, one in served.items()
    }
