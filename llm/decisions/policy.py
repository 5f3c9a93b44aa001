"""An elected worker's changes of the rates."""

from dataclasses import dataclass

from llm.decisions.candidacy import CandidacyObservation
from llm.decisions.election_wording import ENDS, about_lines, changes_line, election_chat
from llm.decisions.history import without_older_history
from llm.decisions.rate_changes import RateChanges
from llm.decisions.wording import form_text, percents, set_year_line
from llm.messages import Message


@dataclass(frozen=True)
class PolicyObservation(CandidacyObservation):
    """What an elected worker knows. announced: (k,) rates that it stood for, None without any."""

    announced: tuple[float, ...] | None = None


class Policy(RateChanges):
    """An elected worker's changes of the rates. Falls back on no change."""

    def messages(self, observation: PolicyObservation) -> tuple[Message, ...]:
        o = observation
        form = form_text(o.style, '"changes": [C1, C2, ...]')
        rules = f"You have been elected. Change the rates so that {ENDS[o.objective]}."
        answer = f"Answer with JSON only: {form}, one number per bracket, lowest bracket first."
        lines = about_lines(o)
        if o.announced is not None:
            lines.append(f"You announced the rates {percents(o.announced)}.")
        lines.append(set_year_line(o.year, len(o.brackets)))
        return election_chat(o.brackets, [rules, changes_line(o.max_change), answer], lines)

    def shorter(self, observation: PolicyObservation) -> PolicyObservation | None:
        return without_older_history(observation)
