"""Runs that stop where a prompt was cut before, or where their parent had its answers."""

import pytest
from support.failing import NONSENSE, FailingEngine

import jaxecon as je
from jaxecon.core.errors import EngineError
from llm.messages import TOO_LONG, Completion

CONFIG = {
    "years": 2,
    "year": {"days": 5},
    "population": {"mechanical": 20, "llm": 3},
    "planner": {"kind": "fixed", "compared_with": []},
    "llm": {"engine": "simulated", "retries": 1},
    "checkpoint": {"every_days": 1, "every_minutes": None, "keep_last": 100},
}
LONGEST = 2000  # characters of a prompt that the server below takes


def too_long_or_nonsense(request):
    """A server that takes no long prompts, with a model that says nothing of use."""
    if sum(len(message.content) for message in request.messages) > LONGEST:
        return Completion("", f"{TOO_LONG}:0", error="HTTP 400: too long")
    return NONSENSE


def too_long(request, before):
    return too_long_or_nonsense(request) is not NONSENSE


class Short(FailingEngine):
    """Takes no long prompts, healed or not."""

    def complete(self, requests, *, on_completion):
        long = [i for i, request in enumerate(requests) if too_long(request, 0)]
        for i in long:
            self.asked.append(requests[i])
            on_completion(i, too_long_or_nonsense(requests[i]))
        others = [i for i in range(len(requests)) if i not in long]
        super().complete(
            [requests[i] for i in others],
            on_completion=lambda place, completion: on_completion(others[place], completion),
        )


def test_what_failed_after_its_prompt_was_cut_is_asked_again(tmp_path):
    engine = Short(
        NONSENSE, lambda request, before: (request.draw.year, request.draw.day) == (1, 2)
    )
    with pytest.raises(EngineError, match="year 1, day 2 got no usable answer"):
        je.run(CONFIG, out=tmp_path / "run", engine=engine)
    assert any(too_long(request, 0) for request in engine.asked)
    engine.healed = True
    run = je.resume(tmp_path / "run", engine=engine)
    assert run.manifest["status"] == "complete"
    assert run.summary["llm"]["statuses"].get("fallback", 0) == 0
    assert je.replay(run.path).equal


def test_a_branch_stops_in_years_that_its_parent_has_answers_for(tmp_path):
    run = je.run(CONFIG, out=tmp_path / "run", engine=FailingEngine(where=lambda r, before: False))
    with pytest.raises(EngineError, match="year 1, day 0 got no usable answer"):
        je.branch(
            run.path,
            year=1,
            out=tmp_path / "branch",
            overrides=["schedule.rates=0.6"],
            engine=FailingEngine(NONSENSE),
        )
