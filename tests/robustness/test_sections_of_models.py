"""Which of several models an error is about, and which of them may stand in for each other."""

from contextlib import closing
from types import SimpleNamespace

import pytest
from support.decisions import observations

from jaxecon.config.read import load_config
from jaxecon.core.errors import EngineError, UserError
from llm import serving
from llm.bridge import Bridge
from llm.decisions.labor import Labor
from llm.engines.openai import probing
from llm.engines.scripted import ScriptedEngine
from llm.messages import Completion, Sampling
from llm.served import ServedModel
from llm.transcript.store import Transcript


@pytest.mark.parametrize("name", [None, "big"])
@pytest.mark.parametrize(
    ("wrong", "setting"),
    [
        ({"api_key_env": "NO_SUCH_KEY"}, "api_key_env"),
        ({"headers": {"api-key": "${NO_SUCH_KEY}"}}, "headers.api-key"),
        ({"engine": "replay", "transcript": "none"}, "transcript"),
        ({"base_url": "http://127.0.0.1:1/v1"}, "base_url"),
    ],
)
def test_errors_of_an_engine_name_the_section_of_its_model(name, wrong, setting, monkeypatch):
    monkeypatch.setattr(probing, "_PAUSE_SECONDS", 0.01)
    model = {"engine": "openai", "model": "m", "base_url": "http://127.0.0.1:2/v1"} | wrong
    llm = model if name is None else {"engine": "simulated", "others": {name: model}}
    planner = {"kind": "llm", "llm": name}
    config = load_config({"llm": llm, "planner": planner, "population": {"llm": 0}})
    section = "llm" if name is None else "llm.others.big"
    with pytest.raises((UserError, EngineError)) as failed:
        checked_and_started(config)
    assert str(failed.value).startswith(f"{section}.{setting}: ")


def checked_and_started(config):
    serving.check(config)
    with serving.serving(config):
        pass


def test_an_engine_that_dies_names_the_section_of_its_model(tmp_path):
    def die(request):
        raise EngineError("llm.base_url: gone; see llm.model and llm.max_tokens (llm.nothing)")

    big = ServedModel(ScriptedEngine(die), setting="llm.others.big")
    with closing(Transcript(tmp_path / "t")) as transcript:
        bridge = Bridge({"llm": big}, transcript, seed=0, sampling=Sampling(), retries=0)
        with pytest.raises(EngineError) as failed:
            bridge.decide(Labor(), observations(2))
    assert str(failed.value) == (
        "llm.others.big.base_url: gone; see llm.others.big.model and llm.max_tokens (llm.nothing)"
    )


class LearnedEngine(ScriptedEngine):
    @property
    def identity(self):
        return {"engine": "openai", "model": "m", "base_url": "http://s/v1"}

    @property
    def description(self):
        return {"learned": ["llm.max_model_len=4096 saves these refusals; llm.retries"]}


def test_what_is_learned_names_the_section_of_the_model(tmp_path):
    engine = LearnedEngine(lambda request: Completion('{"hours": 40}'))
    big = ServedModel(engine, setting="llm.others.big")
    said = []
    with closing(Transcript(tmp_path / "t")) as transcript:
        bridge = Bridge(
            {"llm": big}, transcript, seed=0, sampling=Sampling(), retries=0, tell=said.append
        )
        bridge.decide(Labor(), observations(2))
    words = "llm.others.big.max_model_len=4096 saves these refusals; llm.retries"
    assert said == [f"http://s/v1: {words}"]
    (entry,) = serving.manifest({"llm": big}).values()
    assert entry["learned"] == [words]


@pytest.mark.parametrize("names", ["ABA", "ABB", "ABCA", "ABCB", "AA"])
def test_no_model_is_twice_in_a_chain(names):
    """Its answers have one key each, whichever of its names it is asked by."""
    chain = [served_model(name, place) for place, name in enumerate(names)]
    with pytest.raises(UserError) as refused:
        serving._check_told_apart(chain)
    first = names.index(names[-1])
    section = "llm" if len(names) == 2 else f"llm.others.m{len(names) - 2}"
    assert str(refused.value).startswith(
        f"{section}.fallback: 'm{len(names) - 1}'; another model or another server than "
        f"{'llm' if first == 0 else f'llm.others.m{first}'}: "
    )
    serving._check_told_apart(chain[:-1])


def served_model(name, place):
    engine = SimpleNamespace(identity={"engine": "openai", "model": name})
    return ServedModel(engine, setting="llm" if place == 0 else f"llm.others.m{place}")
