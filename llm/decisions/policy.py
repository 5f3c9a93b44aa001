"""An elected worker's changes of the rates."""

from dataclasses import dataclass

from llm.decisions.candidacy import CandidacyObservation
from llm.decisions.election_wording import ENDS, about_lines, election_chat, moves_text
from llm.decisions.history import without_older_history
from llm.decisions.rate_changes import RateChanges
from llm.decisions.wording import form_text, percents
from llm.messages import Message


@dataclass(frozen=True)
class PolicyObservation(CandidacyObservation):
    """announced: rates that it stood for, if it said any."""

    announced: tuple[float, ...] | None = None


def policy_messages(o: PolicyObservation) -> tuple[Message, ...]:
    """Chat for the rates that an elected worker sets."""
    form = form_text(o.style, '"changes": [C1, C2, ...]')
    rules = f"You have been elected. Change the rates so that {ENDS[o.objective]}."
    answer = f"Answer with JSON only: {form}, one number per bracket, lowest bracket first."
    lines = about_lines(o)
    if o.announced is not None:
        lines.append(f"You announced the rates {percents(o.announced)}.")
    count = len(o.brackets)
    lines.append(
        f"Set year {o.year + 1}: give {count} change{'s' if count > 1 else ''}, one per bracket."
    )
    return election_chat(o.brackets, [rules, moves_text(o.max_change), answer], lines)


class Policy(RateChanges):
    """An elected worker's changes of the rates."""

    def messages(self, observation: PolicyObservation) -> tuple[Message, ...]:
        return policy_messages(observation)

    def shorter(self, observation: PolicyObservation) -> PolicyObservation | None:
        return without_older_history(observation)
