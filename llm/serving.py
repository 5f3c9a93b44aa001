"""Starts the engines that the settings ask for: what serves each cohort."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path

from jaxecon.config.names import LLM_RULE
from jaxecon.config.settings import Config
from llm.agents.planner import PLANNER
from llm.bridge import ServedModel
from llm.decisions.template_check import check_templates
from llm.engines.base import Engine
from llm.engines.registry import ENGINES
from llm.engines.replayed import ReplayEngine


def check(config: Config) -> None:
    """Raise UserError where a model, a key, a package or a transcript is missing.

    Also where the templates of `llm.prompts` do not work.
    """
    for settings in config.servings.values():
        ENGINES[settings.engine].check(settings)
    if config.llm.prompts is not None:
        check_templates(config.llm.prompts)


def _cohorts_by_model(config: Config) -> dict[str | None, list[str]]:
    """The cohorts that each model serves, the planner's included, by the model's name.

    Names are those in llm.others; None is `llm` itself.
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
    """Yield what serves each cohort, by the cohort's name; close all engines started here.

    engine: a running engine that takes the place of `llm`; it stays open.
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
    """Yield what serves each cohort of a run that is replayed from its transcript, by its name.

    identities: by cohort, that of the model that answered it.
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
    """The entries of a run's manifest on its models, by cohort."""
    return {
        cohort: {**one.engine.identity, **one.engine.description} for cohort, one in served.items()
    }
