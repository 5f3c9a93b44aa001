"""Who gives a reason before its answer."""

import json
from contextlib import closing

import pytest

import jaxecon as je
from jaxecon.config.read import load_config
from jaxecon.simulation.language import open_transcript
from jaxecon.storage.paths import TRANSCRIPT
from llm.engines.scripted import ScriptedEngine
from llm.messages import Completion

RUN = {
    "years": 3,
    "year": {"days": 2},
    "population": {"mechanical": 6, "llm": 3},
    "satisfaction": {"judged": True, "every_days": 2},
    "llm": {"engine": "simulated"},
}
PLANNED = {**RUN, "planner": {"kind": "llm"}}
ELECTED = {**RUN, "planner": {"kind": "elected"}, "population": {"mechanical": 0, "llm": 6}}


def with_reasons(run):
    """The kinds of decision whose schema and rules ask for a reason, and those that do not."""
    reasons, without = set(), set()
    with closing(open_transcript(run.path / TRANSCRIPT)) as transcript:
        for c in transcript.conversations():
            asks = "reasoning" in c["schema"]["properties"]
            assert asks == ('"reasoning"' in c["messages"][0]["content"])
            (reasons if asks else without).add(c["kind"])
            assert (c["reason"] is not None) == asks
    return reasons, without


@pytest.mark.parametrize(
    ("settings", "style", "reasons", "without"),
    [
        (PLANNED, None, {"plan"}, {"labor", "satisfaction"}),
        (PLANNED, "io", set(), {"plan", "labor", "satisfaction"}),
        (PLANNED, "cot", {"plan", "labor"}, {"satisfaction"}),
        (ELECTED, None, {"plan"}, {"labor", "satisfaction", "candidacy", "vote"}),
        (ELECTED, "cot", {"plan", "labor", "candidacy", "vote"}, {"satisfaction"}),
    ],
)
def test_who_sets_the_rates_gives_a_reason(settings, style, reasons, without, tmp_path):
    config = load_config(settings, [] if style is None else [f"llm.style={style}"])
    assert with_reasons(je.run(config, out=tmp_path / "run")) == (reasons, without)


def test_the_closing_lines_show_the_last_reason(tmp_path, capsys):
    """Of the last year's rates, whatever characters a model writes; not of the simulated engine."""
    from jaxecon.cli.output.run import print_summary

    def answer(request):
        if request.draw.kind == "plan":
            reason = f"Year {request.draw.year}: [b]more\x1b revenue."
            return Completion(json.dumps({"reasoning": reason, "changes": [0] * 7}))
        return Completion('{"hours": 40, "satisfied": true}')

    run = je.run(PLANNED, out=tmp_path / "a", engine=ScriptedEngine(answer))
    print_summary(run)
    assert "Reason given for the rates of year 3: Year 2: [b]more\\x1b revenue." in (
        " ".join(capsys.readouterr().out.split())
    )
    unusable = ScriptedEngine(
        lambda request: Completion('{"reasoning": "Raise all.", "changes": 3, "hours": 40}')
    )
    anyway = ["llm.fallback_limit=1"]
    run = je.run(PLANNED, overrides=anyway, out=tmp_path / "c", engine=unusable)
    print_summary(run)
    assert "Reason given" not in capsys.readouterr().out  # the rates are a fallback's
    print_summary(je.run(PLANNED, out=tmp_path / "b"))
    assert "Reason given" not in capsys.readouterr().out
