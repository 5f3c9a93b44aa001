"""When fallbacks are so many that a run must not go on with them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jaxecon.core.errors import EngineError
from llm.accounts import Accounts
from llm.asking import Asker
from llm.decisions.base import AnyObservation
from llm.failures import commonest, reason
from llm.messages import Completion
from llm.served import ServedModel, in_section
from llm.transcript.store import Transcript

_LEAST_BATCH = 8  # decisions, of which a share is judged; of fewer, only whether all failed
_IN_A_ROW = 3  # single decisions by a model that has answered such questions before


class Outcome(NamedTuple):
    """How a decision was reached.

    failed: the last reply where it was of no use, else None. problem: what its reader says of it.
    """

    observation: AnyObservation
    failed: Completion | None
    problem: str = ""


class FallbackLimit:
    """Ends a run whose models do not answer, before it acts on a batch of fallbacks.

    limit: the largest share of fallbacks in a batch that one model answers; 1 for any.
    """

    def __init__(
        self,
        limit: float,
        served: Mapping[str, ServedModel],
        asker: Asker,
        transcript: Transcript,
        accounts: Accounts,
    ) -> None:
        self._limit, self._served, self._asker = limit, served, asker
        self._transcript, self._accounts = transcript, accounts

    def check(self, kind: str, outcomes: Sequence[Outcome]) -> None:
        """Raise EngineError, one line, where a model's answers to one batch are too few.

        Failures that are all in the transcript already are none: the run has gone on with them.
        """
        if self._limit >= 1:
            return
        by_served: dict[int, list[Outcome]] = {}
        for outcome in outcomes:
            by_served.setdefault(id(self._served[outcome.observation.cohort]), []).append(outcome)
        for of_model in by_served.values():
            failed = [outcome for outcome in of_model if outcome.failed is not None]
            agents = {(o.observation.cohort, o.observation.agent) for o in failed}
            is_new = not agents.isdisjoint(self._asker.answered_now)
            if is_new and self._too_many(kind, of_model, len(failed)):
                raise EngineError(self._line(kind, of_model, failed))

    def _too_many(self, kind: str, outcomes: Sequence[Outcome], failed: int) -> bool:
        if failed < len(outcomes):
            return len(outcomes) >= _LEAST_BATCH and failed > self._limit * len(outcomes)
        observation = outcomes[0].observation
        usage = self._accounts.of(observation.cohort, kind)
        if len(outcomes) > 1 or usage.fallbacks == usage.decisions:
            return True
        before = self._transcript.last_statuses(
            kind=kind,
            cohort=observation.cohort,
            before=(observation.year, observation.day),
            most=_IN_A_ROW - 1,
        )
        return before == ["fallback"] * (_IN_A_ROW - 1)

    def _line(self, kind: str, outcomes: Sequence[Outcome], failed: Sequence[Outcome]) -> str:
        observation = outcomes[0].observation
        replies = [(o.failed, o.problem) for o in failed if o.failed is not None]
        why = commonest(reason(r.text, r.finish_reason, r.error, said) for r, said in replies)
        assert why is not None
        *_, model = self._served[observation.cohort].chain
        served_here = model.engine.identity["engine"] != "openai"
        setting = "model" if served_here and why.setting == "base_url" else why.setting
        where = in_section(model.setting, f"llm.{setting}")
        cohorts = ", ".join(dict.fromkeys(o.observation.cohort for o in outcomes))
        return (
            f"{where}: {len(failed)} of {len(outcomes)} {kind} decisions of "
            f"{cohorts} in year {observation.year}, day {observation.day} got no usable answer: "
            f"{why.words}; jaxecon resume asks again, --set llm.fallback_limit=1 goes on with "
            "fallbacks"
        )
