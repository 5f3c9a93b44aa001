"""Checks between settings of language models, and of what they are asked."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from jaxecon.config.address import plain_address
from jaxecon.config.language import Serving, setting_of
from jaxecon.config.names import LLM_RULE
from jaxecon.config.request_extras import check_extras
from jaxecon.config.survey import MAX_CHOICES, Question
from jaxecon.core.text import estimated_tokens

if TYPE_CHECKING:
    from jaxecon.config.settings import Config


def _models(config: "Config") -> dict[str | None, Serving]:
    """All models of the settings, asked or not; None is `llm` itself."""
    models: dict[str | None, Serving] = {None: config.llm}
    return models | config.llm.others


def _known_models(config: "Config") -> None:
    chosen = {f"population.cohorts.{i}.llm": c.llm for i, c in enumerate(config.cohorts)} | {
        "planner.llm": config.planner.llm
    }
    for setting, model in chosen.items():
        if model is not None and model not in config.llm.others:
            raise ValueError(
                f"{setting}: {model!r}; a name in llm.others: "
                f"{', '.join(config.llm.others) or '(which is empty)'}"
            )


def _requests(config: "Config") -> None:
    """Whether addresses and what is added to requests are right, whatever the engine is.

    A run's files hold them.
    """
    for name, one in _models(config).items():
        where = setting_of(name)
        if one.base_url is not None:
            plain_address(where, one.base_url)
        check_extras(where, one.extra_body, one.headers, one.query)


def _fallbacks(config: "Config") -> None:
    """Whether each `fallback` names another model, and none comes back to itself."""
    others = config.llm.others
    for name, first in _models(config).items():
        where = setting_of(name)
        seen, serving = [where], first
        while serving.fallback is not None:
            if serving.fallback not in others:
                raise ValueError(
                    f"{seen[-1]}.fallback: {serving.fallback!r}; a name in llm.others: "
                    f"{', '.join(others) or '(which is empty)'}"
                )
            following = setting_of(serving.fallback)
            if following in seen:
                raise ValueError(
                    f"{where}.fallback: {first.fallback!r}; comes back to {following} "
                    f"({' -> '.join([*seen, following])}), and a model cannot stand in for itself"
                )
            seen.append(following)
            serving = others[serving.fallback]


def _servings(config: "Config") -> None:
    for name, serving in config.servings.items():
        where = setting_of(name)
        if config.llm.max_tokens > serving.max_model_len // 2:
            raise ValueError(
                f"llm.max_tokens: {config.llm.max_tokens}; at most half of "
                f"{where}.max_model_len ({serving.max_model_len})"
            )
        if (serving.engine == "replay") != (serving.transcript is not None):
            raise ValueError(
                f"{where}.transcript: {serving.transcript!r}; give it with "
                f"{where}.engine=replay, and only then"
            )


def _price_of_budget(config: "Config") -> None:
    priced = any(s.price.prompt + s.price.completion for s in config.servings.values())
    if config.llm.budget_usd is not None and config.needs_engine and not priced:
        raise ValueError(
            f"llm.budget_usd: {config.llm.budget_usd:g}; needs llm.price, dollars per million "
            "tokens"
        )


def _survey(config: "Config") -> None:
    questions = config.survey.questions
    if questions and not config.has_llm_cohort:
        raise ValueError(
            f"survey.questions: {len(questions)} and nobody who answers; needs population.llm or a "
            "cohort with rule llm"
        )
    names = [question.name for question in questions]
    for i, question in enumerate(questions):
        where = f"survey.questions.{i}"
        if names.index(question.name) < i:
            raise ValueError(f"{where}.name: {question.name!r}; is given twice")
        _form_of_answer(where, question)
        for year in question.years or ():
            if year >= config.years:
                raise ValueError(
                    f"{where}.years: {year}; the last year is {config.years - 1} (the first is 0)"
                )
        if question.years == ():
            raise ValueError(f"{where}.years: []; one year at least, or unset for all")
        _fits_models(where, question, config)


def _form_of_answer(where: str, question: Question) -> None:
    forms = {name: getattr(question, name) for name in ("choices", "number", "text")}
    given = [name for name, value in forms.items() if value is not None]
    if len(given) != 1:
        raise ValueError(
            f"{where}: has {' and '.join(given) or 'no form of an answer'}; exactly one of "
            f"{', '.join(forms)}"
        )
    if not question.ask.strip():
        raise ValueError(f"{where}.ask: {question.ask!r}; a question in words")
    if question.choices is not None:
        words = [" ".join(choice.split()).lower() for choice in question.choices]
        if not 2 <= len(words) <= MAX_CHOICES:
            raise ValueError(f"{where}.choices: {len(words)} texts; 2 to {MAX_CHOICES}")
        for place, word in enumerate(words):
            if not word or word in words[:place]:
                raise ValueError(
                    f"{where}.choices.{place}: {question.choices[place]!r}; another text than "
                    "those before it, and not empty"
                )
    if question.number is not None and not question.number[0] < question.number[1]:
        raise ValueError(f"{where}.number: {list(question.number)}; the least, then the largest")


def _fits_models(where: str, question: Question, config: "Config") -> None:
    """Whether a question and its answer leave the models room for what else is in the prompt."""
    asked = "".join([question.ask, *(question.choices or ())])
    needed = estimated_tokens(asked) + question.answer_tokens
    asked_models = [cohort.llm for cohort in config.cohorts if cohort.rule == LLM_RULE]
    for name, serving in config.with_fallbacks(asked_models).items():
        if needed > serving.max_model_len // 2:
            raise ValueError(
                f"{where}: question and answer need some {needed:,} tokens; at most half of "
                f"{setting_of(name)}.max_model_len ({serving.max_model_len:,})"
            )


LANGUAGE_CHECKS: tuple[Callable[["Config"], None], ...] = (
    _known_models,
    _requests,
    _fallbacks,
    _servings,
    _price_of_budget,
    _survey,
)
