"""From settings to engines: what answers which cohort."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path

from jaxecon.config.names import LLM_RULE
from jaxecon.config.settings import Config
from llm.agents.planner import PLANNER
from llm.bridge import ServedModel
from llm.engines.base import Engine
from llm.engines.registry import ENGINES
from llm.engines.replayed import ReplayEngine


def check(config: Config) -> None:
    """Raise UserError where a model, a key, a package or a transcript is missing."""
    for settings in config.servings.values():
        ENGINES[settings.engine].check(settings)


def _cohorts_by_model(config: Config) -> dict[str | None, list[str]]:
    """The cohorts that each model answers, the planner's among them.

    By the model's name in llm.others; None is `llm` itself.
    """
    asked: dict[str | None, list[str]] = {}
    for cohort in config.cohorts:
        if cohort.rule == LLM_RULE:
            asked.setdefault(cohort.llm, []).append(cohort.name)
    if config.planner_kind == "llm":
        asked.setdefault(config.planner.llm, []).append(PLANNER)
    return asked


@contextmanager
def serving(config: Config, engine: Engine | None = None) -> Iterator[dict[str, ServedModel]]:
    """What serves each cohort, by its name; everything started here is closed.

    engine: one that takes the place of `llm`, and stays open.
    """
    by_cohort: dict[str, ServedModel] = {}
    with ExitStack() as started:
        for name, cohorts in _cohorts_by_model(config).items():
            settings = config.servings[name]
            if name is None and engine is not None:
                served = ServedModel(engine, None, settings.max_model_len, settings.price)
            else:
                kind = ENGINES[settings.engine]
                start = partial(kind.start, settings, config.seed, cohorts)
                restart = start if kind.restarts else None
                served = ServedModel(start(), restart, settings.max_model_len, settings.price)
                started.callback(served.close)
            by_cohort |= dict.fromkeys(cohorts, served)
        yield by_cohort


@contextmanager
def replaying(
    config: Config, transcript: Path, identities: Mapping[str, Mapping[str, str]]
) -> Iterator[dict[str, ServedModel]]:
    """What serves each cohort of a run that is repeated from its own answers, by its name.

    identities: by cohort, of the model that answered it.
    """
    with ExitStack() as stack:
        by_cohort: dict[str, ServedModel] = {}
        for name, cohorts in _cohorts_by_model(config).items():
            settings = config.servings[name]
            recorded = stack.enter_context(
                closing(ReplayEngine(transcript, identity=identities[cohorts[0]]))
            )
            served = ServedModel(recorded, None, settings.max_model_len, settings.price)
            by_cohort |= dict.fromkeys(cohorts, served)
        yield by_cohort


def manifest(served: Mapping[str, ServedModel]) -> dict[str, dict[str, object]]:
    """What a run's manifest says of the models, by cohort."""
    return {
        cohort: {**one.engine.identity, **one.engine.description} for cohort, one in served.items()
    }
