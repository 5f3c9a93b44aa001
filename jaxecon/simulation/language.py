"""The only access to language models: no other module imports the package `llm`.

It is imported inside functions, since it loads vLLM, Torch and the OpenAI client, which a run
without language models must neither need nor wait for. Commands that only look at models and
transcripts use this module too: importing it loads no JAX.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxecon.config.names import decision_name
from jaxecon.config.settings import Config
from jaxecon.core.installation import check_ours
from jaxecon.storage.paths import PROMPTS, TRANSCRIPT
from jaxecon.storage.run_id import check_run_id

if TYPE_CHECKING:
    from jaxecon.planners.base import Planner
    from jaxecon.planners.elections.electorate import Electorate
    from jaxecon.storage.failure_diagnostics import Diagnostic
    from llm.engines.base import Engine
    from llm.messages import Message
    from llm.transcript.store import Transcript


def _check_bridge() -> None:
    """Raise UserError where `import llm` brings another project's module of that name."""
    check_ours("llm", "BRIDGE_OF")


def model_store() -> Any:
    """The module that lists, fetches and finds local models (`llm.engines.models`)."""
    _check_bridge()
    from llm.engines import models

    return models


def open_transcript(path: Path) -> "Transcript":
    """Open a transcript to read it; the caller closes it.

    Raises DiskError where it lies in the folder of another run than its own.
    """
    _check_bridge()
    from llm.transcript.store import Transcript

    with ExitStack() as opened:
        transcript = opened.enter_context(closing(Transcript(path, read_only=True)))
        check_run_id(path.parent, path, transcript.run_id)
        opened.pop_all()
    return transcript


def check_engines(config: Config) -> None:
    """Raise UserError where the bridge, a model, a key or a transcript is missing."""
    _check_bridge()
    from llm import serving

    serving.check(config)
    # on a GPU JAX would take the memory that the engine needs
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


@contextmanager
def start_engines(
    config: Config, engine: "Engine | None", identities: Mapping[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """Start the engines of LLM cohorts and of an LLM planner; yield them by name, if any.

    identities: of a run that is resumed, those in its manifest.
    """
    if not config.needs_engine:
        yield {}
        return
    from llm.serving import serving

    with serving(config, engine, identities) as served:
        yield served


@contextmanager
def replay_engines(
    config: Config, transcript: Path, identities: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield engines, by cohort, that answer from a run's transcript instead of from a model.

    identities: those of the engines that wrote the transcript; they are part of every request's
    key.
    """
    if not config.needs_engine:
        yield {}
        return
    _check_bridge()
    from llm.serving import replaying

    with replaying(config, transcript, identities) as served:
        yield served


def models(served: Mapping[str, Any], before: object = None) -> dict[str, Any] | None:
    """The manifest's entry on the models that serve the cohorts; None without any.

    By cohort; those of `llm.fallback` by their section of the settings. before: the entry that the
    manifest of a resumed run has already.
    """
    if not served:
        return None
    from llm.serving import manifest

    return manifest(served, before)


def identities(served: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The identity of each engine, part of every request's key, by the names of `models`."""
    if not served:
        return {}
    from llm.serving import identities

    return identities(served)


def is_same_model(
    model: str, name: str | None, before: Config, identities: Mapping[str, Mapping[str, str]]
) -> bool:
    """Whether a model that vLLM loads is, by its content, the one that a section had in a run.

    name: the section's name in llm.others; None is `llm` itself. before: the run's configuration.
    identities: those in its manifest.
    """
    _check_bridge()
    from llm.engines.models import ModelNotFound
    from llm.engines.vllm import engine_identity
    from llm.serving import name_in_manifest

    try:
        return engine_identity(model) == identities.get(name_in_manifest(before, name))
    except ModelNotFound:
        return False


def templates() -> tuple[Any, Any]:
    """The modules that read and that check templates.

    They are `llm.decisions.prompts` and `llm.decisions.template_check`.
    """
    _check_bridge()
    from llm.decisions import prompts, template_check

    return prompts, template_check


def check_prompts(folder: str) -> None:
    """Raise UserError, one line, where a user's templates do not work."""
    _check_bridge()
    from llm.decisions.template_check import check_templates

    check_templates(folder)


def chat_tokenizer(model: str) -> "Callable[[Sequence[Message]], list[int]]":
    """What a local model makes of a chat. Raises UserError where it is not here."""
    _check_bridge()
    from llm.engines.models.tokenizer import chat_tokenizer

    return chat_tokenizer(model)


class KeptPrompts(NamedTuple):
    """What a run keeps of the words in which its models are asked.

    Attributes:
        digest: Their hash, for the manifest; None in a run that asks no model.
        own: The texts of the user's templates, by name.
    """

    digest: str | None
    own: Mapping[str, str]


def prompts_of(config: Config) -> KeptPrompts:
    """Read the words in which a run's models are asked."""
    if not config.needs_engine:
        return KeptPrompts(None, {})
    from llm.decisions.prompts import Prompts

    prompts = Prompts(config.llm.prompts)
    return KeptPrompts(prompts.digest(), prompts.own)


def fallback_reasons(transcript: "Transcript", **selection: Any) -> dict[tuple[str, str], str]:
    """The commonest reason for the fallbacks of each cohort and kind, in words.

    selection: a part of the transcript, as for its `totals`.
    """
    from llm.failures import Reason, commonest

    reasons: dict[tuple[str, str], list[Reason]] = {}
    for cohort, kind, why in transcript.fallback_reasons(**selection):
        reasons.setdefault((cohort, kind), []).append(why)
    found = {whose: commonest(all_) for whose, all_ in sorted(reasons.items())}
    return {whose: one.words for whose, one in found.items() if one is not None}


def with_reason(diagnostic: "Diagnostic", transcript: Path) -> "Diagnostic":
    """A diagnostic as it is or, of fallbacks, with their commonest reason so far.

    transcript: of the run; it need not be there.
    """
    if diagnostic.name != "fallback_rate" or not transcript.is_file():
        return diagnostic
    from llm.failures import commonest

    with closing(open_transcript(transcript)) as opened:
        reasons = opened.fallback_reasons((0, diagnostic.years[-1][1]))
        found = commonest(why for _, kind, why in reasons if decision_name(kind) != "survey")
    return (
        diagnostic
        if found is None
        else replace(diagnostic, seen=f"{diagnostic.seen}: {found.words}")
    )


def make_bridge(
    config: Config,
    out: Path,
    served: Mapping[str, Any],
    inherited: Path | None,
    stack: ExitStack,
    *,
    run_id: str | None = None,
    tell: "Callable[[str], None] | None" = None,
) -> tuple[Any, "Callable[[], int] | None"]:
    """The bridge that all cohorts share, and a function that makes its transcript durable.

    Both are None without a model. inherited: a transcript whose answers count as the run's own.
    run_id: of the run whose transcript it is. tell: called with one line for the user, as that of
    `llm.asking.Asker`.
    """
    if not served:
        return None, None
    from llm.bridge import Bridge
    from llm.decisions.prompts import Prompts
    from llm.messages import Sampling
    from llm.transcript.store import Transcript

    transcript = stack.enter_context(closing(Transcript(out / TRANSCRIPT)))
    if run_id is not None:
        transcript.keep_run_id(run_id)
    before = (
        None
        if inherited is None
        else stack.enter_context(closing(Transcript(inherited, read_only=True)))
    )
    # the run's own copy, which nobody edits while it runs
    llm, kept = config.llm, out / PROMPTS
    bridge = Bridge(
        served,
        transcript,
        seed=config.seed_of_draws,
        sampling=Sampling(llm.temperature, llm.top_p, llm.max_tokens),
        retries=llm.retries,
        budget_tokens=llm.budget_tokens,
        budget_usd=llm.budget_usd,
        prompts=Prompts(kept if kept.is_dir() else llm.prompts),
        inherited=before,
        fallback_limit=llm.fallback_limit,
        tell=tell,
    )
    return bridge, transcript.sync


def make_workers(bridge: Any, cohorts: Mapping[str, Any], config: Config) -> Any:
    """The `ExternalWorkers` that decide for LLM cohorts. cohorts: the LLM cohorts by name."""
    from llm.agents.workers import LLMWorkers

    return LLMWorkers(bridge, cohorts, config)


def make_language_planner(bridge: Any, config: Config) -> "Planner":
    """The planner that asks a language model."""
    from llm.agents.planner import LLMPlanner

    return LLMPlanner(bridge, config)


def make_electorate(
    bridge: Any, workers: Any, skills: Mapping[str, Any], config: Config
) -> "Electorate":
    """The electorate that votes and stands for election on behalf of LLM workers.

    skills: by cohort, (n,) $/year per weekly hour.
    """
    from llm.agents.electorate import LLMElectorate

    return LLMElectorate(bridge, workers, skills, config)


def llm_summary(bridge: Any, served: Mapping[str, Any]) -> dict[str, Any]:
    """What language models did and cost so far, for the manifest and the summary."""
    from llm.serving import all_models

    return {
        **vars(bridge.usage),
        "by_kind": bridge.accounts.statuses,
        "by_cohort": bridge.accounts.as_json(),
        "seconds_by_kind": bridge.accounts.seconds,
        "engines": sorted({identity["engine"] for identity in identities(served).values()}),
        "restarts": sum({id(one): one.restarts for one in all_models(served).values()}.values()),
    }
