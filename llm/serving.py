"""Starts the engines that the settings ask for: what serves each cohort."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path

from jaxecon.config.language import Serving, setting_of
from jaxecon.config.names import LLM_RULE
from jaxecon.config.settings import Config
from jaxecon.core.errors import DiskError, EngineError, UserError, first_line
from llm.agents.planner import PLANNER
from llm.decisions.template_check import check_templates
from llm.engines.absent import AbsentEngine
from llm.engines.base import Engine
from llm.engines.registry import ENGINES
from llm.engines.replayed import ReplayEngine
from llm.served import ServedModel, in_section, naming_settings_of


def check(config: Config) -> None:
    """Raise UserError where a model, a key, a package or a transcript is missing.

    Also where the templates of `llm.prompts` do not work.
    """
    for name, settings in config.servings.items():
        with naming_settings_of(setting_of(name)):
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
    return {cohort: served[name] for cohort, name in _models_by_cohort(config).items()}


def _check_told_apart(chain: Sequence[ServedModel]) -> None:
    """Raise UserError where two models of a chain are one: its answers have one key."""
    for place, model in enumerate(chain):
        for earlier in chain[:place]:
            if earlier.engine.identity == model.engine.identity:
                name = model.setting.removeprefix("llm.others.")
                raise UserError(
                    f"{chain[place - 1].setting}.fallback: {name!r}; another model or another "
                    f"server than {earlier.setting}: answers are told apart by these"
                )


def name_in_manifest(config: Config, model: str | None) -> str:
    """A model's name in `identities`: that of the first cohort that it serves, or its setting."""
    cohorts = (cohort for cohort, name in _models_by_cohort(config).items() if name == model)
    return next(cohorts, setting_of(model))


def _start_or_stand_in(
    start: Callable[[], Engine], settings: Serving, identity: Mapping[str, str] | None
) -> Engine:
    """Start an engine; that of a resumed run may be absent, if another model stands in for it.

    identity: that of the engine in the run so far; None in a new run.
    """
    try:
        return start()
    except EngineError as error:
        if identity is None or settings.fallback is None or settings.engine != "openai":
            raise
        return AbsentEngine(identity, first_line(error))


@contextmanager
def serving(
    config: Config,
    engine: Engine | None = None,
    identities: Mapping[str, Mapping[str, str]] | None = None,
) -> Iterator[dict[str, ServedModel]]:
    """Yield what serves each cohort, by the cohort's name; close all engines started here.

    engine: a running engine that takes the place of `llm`; it stays open. identities: of a run that
    is resumed, those in its manifest.
    """
    known = identities or {}
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
                before = known.get(name_in_manifest(config, name))
                with naming_settings_of(setting_of(name)):
                    running = _start_or_stand_in(start, settings, before)
                served[name] = ServedModel(running, restart, *described)
                started.callback(served[name].close)
        by_cohort = _by_cohort(config, served)
        for model in served.values():
            _check_told_apart(list(model.chain))
        yield by_cohort


@contextmanager
def replaying(
    config: Config, transcript: Path, identities: Mapping[str, Mapping[str, str]]
) -> Iterator[dict[str, ServedModel]]:
    """Yield what serves each cohort of a run that is replayed from its transcript, by its name.

    identities: those of the models that answered, as `identities` of this module returned them.
    """
    names = {name: name_in_manifest(config, name) for name in config.servings}
    lost = [name for name in names.values() if name not in identities]
    if lost:
        raise DiskError(f"{transcript.parent}: its manifest has no identity of {lost[0]}")
    recorded = {name: identities[recorded] for name, recorded in names.items()}
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


def manifest(
    served: Mapping[str, ServedModel], before: object = None
) -> dict[str, dict[str, object]]:
    """The entries of a run's manifest on its models, by the names of `all_models`.

    before: these entries as they are in the manifest, of which what was learned is kept.
    """
    entries: dict[str, dict[str, object]] = {}
    for name, one in all_models(served).items():
        described = one.engine.description
        now = [in_section(one.setting, line) for line in described.get("learned", ())]
        learned = [*_learned(before, name, one), *now]
        entries[name] = {**one.engine.identity, **described}
        if learned:
            entries[name]["learned"] = list(dict.fromkeys(learned))
    return entries


def _learned(before: object, name: str, model: ServedModel) -> list[str]:
    """What was learned of a model's server before the run was resumed; nothing of another's."""
    entry = before.get(name) if isinstance(before, Mapping) else None
    if not isinstance(entry, Mapping) or not model.engine.identity.items() <= entry.items():
        return []
    learned = entry.get("learned")
    return [line for line in learned if isinstance(line, str)] if isinstance(learned, list) else []


def identities(served: Mapping[str, ServedModel]) -> dict[str, dict[str, str]]:
    """The identity of each model, part of every request's key, by the names of `all_models`."""
    return {name: one.engine.identity for name, one in all_models(served).items()}
