"""Starts the engines that the settings ask for: what serves each cohort."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path

from jaxecon.config.names import LLM_RULE
from jaxecon.config.settings import Config
from jaxecon.core.errors import UserError
from llm.agents.planner import PLANNER
from llm.decisions.template_check import check_templates
from llm.engines.base import Engine
from llm.engines.registry import ENGINES
from llm.engines.replayed import ReplayEngine
from llm.served import ServedModel


def check(config: Config) -> None:
    """Raise UserError where a model, a key, a package or a transcript is missing.

    Also where the templates of `llm.prompts` do not work.
    """
    for settings in config.servings.values():
        ENGINES[settings.engine].check(settings)
    if config.llm.prompts is not None:
        check_templates(config.llm.prompts)


def _models_by_cohort(config: Config) -> dict[str, str | None]:
    """The name of the model that serves each cohort, the planner's included.

    Names are those in llm.others; None is `llm` itself.
    """
    asked = {cohort.name: cohort.llm for cohort in config.cohorts if cohort.rule == LLM_RULE}
    return asked | ({PLANNER: config.planner.llm} if config.planner_kind == "llm" else {})


def _cohorts_of(config: Config, model: str | None) -> list[str]:
    """The cohorts that a model serves, or may serve in another one's place."""
    cohorts = []
    for cohort, name in _models_by_cohort(config).items():
        while name != model and (fallback := config.servings[name].fallback) is not None:
            name = fallback
        cohorts += [cohort] if name == model else []
    return cohorts


def _by_cohort(config: Config, served: Mapping[str | None, ServedModel]) -> dict[str, ServedModel]:
    """What serves each cohort, after every model has been told what stands in for it."""
    for name, model in served.items():
        fallback = config.servings[name].fallback
        model.substitute = None if fallback is None else served[fallback]
        if (
            model.substitute is not None
            and model.substitute.engine.identity == model.engine.identity
        ):
            raise UserError(
                f"{model.setting}.fallback: {fallback!r}; another model or another server than "
                f"{model.setting}: answers are told apart by these"
            )
    return {cohort: served[name] for cohort, name in _models_by_cohort(config).items()}


def setting_of(model: str | None) -> str:
    """The section of the settings that describes a model."""
    return "llm" if model is None else f"llm.others.{model}"


@contextmanager
def serving(config: Config, engine: Engine | None = None) -> Iterator[dict[str, ServedModel]]:
    """Yield what serves each cohort, by the cohort's name; close all engines started here.

    engine: a running engine that takes the place of `llm`; it stays open.
    """
    served: dict[str | None, ServedModel] = {}
    with ExitStack() as started:
        for name, settings in config.servings.items():
            described = settings.max_model_len, settings.price, setting_of(name)
            if name is None and engine is not None:
                served[name] = ServedModel(engine, None, *described)
            else:
                kind = ENGINES[settings.engine]
                start = partial(kind.start, settings, config.seed, _cohorts_of(config, name))
                restart = start if kind.restarts else None
                served[name] = ServedModel(start(), restart, *described)
                started.callback(served[name].close)
        yield _by_cohort(config, served)


@contextmanager
def replaying(
    config: Config, transcript: Path, identities: Mapping[str, Mapping[str, str]]
) -> Iterator[dict[str, ServedModel]]:
    """Yield what serves each cohort of a run that is replayed from its transcript, by its name.

    identities: those of the models that answered, as `identities` of this module returned them.
    """
    first_of = {name: cohort for cohort, name in reversed(_models_by_cohort(config).items())}
    recorded = {name: identities[first_of.get(name, setting_of(name))] for name in config.servings}
    with ExitStack() as stack:
        served: dict[str | None, ServedModel] = {}
        for name, settings in config.servings.items():
            engine = stack.enter_context(
                closing(
                    ReplayEngine(
                        transcript, identity=recorded[name], others=list(recorded.values())
                    )
                )
            )
            served[name] = ServedModel(
                engine, None, settings.max_model_len, settings.price, setting_of(name)
            )
        yield _by_cohort(config, served)


def all_models(served: Mapping[str, ServedModel]) -> dict[str, ServedModel]:
    """What serves each cohort, and what may stand in for it by its section of the settings."""
    substitutes = {model.setting: model for one in served.values() for model in list(one.chain)[1:]}
    return {**served, **substitutes}


def manifest(served: Mapping[str, ServedModel]) -> dict[str, dict[str, object]]:
    """The entries of a run's manifest on its models, by the names of `all_models`."""
    return {
        name: {**one.engine.identity, **one.engine.description}
        for name, one in all_models(served).items()
    }


def identities(served: Mapping[str, ServedModel]) -> dict[str, dict[str, str]]:
    """The identity of each model, part of every request's key, by the names of `all_models`."""
    return {name: one.engine.identity for name, one in all_models(served).items()}
