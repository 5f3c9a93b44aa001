"""Runs whose models are asked in a user's words."""

import json
import re
import shutil
from contextlib import closing

import pytest
from support.runs import HYBRID, At, interrupt, run_killed

import jaxecon as je
from jaxecon.core.errors import Interrupted, UserError
from jaxecon.simulation.language import open_transcript
from jaxecon.storage.digest import digest
from jaxecon.storage.paths import MANIFEST, PROMPTS, TRANSCRIPT
from jaxecon.storage.recorder import Recorder
from llm.decisions.prompts import FOLDER, Prompts

GERMAN = """{# Wie viele Stunden jemand arbeitet. #}
{% block system %}
Du arbeitest in einer Volkswirtschaft mit Einkommensteuer.
Antworte nur mit JSON: {"hours": H}, H ist eine der Zahlen {{ choices|join(", ") }}.
{% if style == "cot" %}
Davor steht "reasoning".
{% endif %}
{% include "brackets.jinja" %}
{% endblock %}

{% block user %}
Du verdienst {{ skill|whole }} Dollar im Jahr je Wochenstunde. Tag {{ day + 1 }}.
{% endblock %}
"""


@pytest.fixture
def words(tmp_path):
    folder = tmp_path / "words"
    folder.mkdir()
    (folder / "labor.jinja").write_text(GERMAN)
    (folder / "notes.txt").write_text("not a template")
    return folder


def asking(words, **changes):
    return {**HYBRID, **changes, "llm": {"engine": "simulated", "prompts": str(words)}}


def asked(run, kind):
    """The system and user messages of a kind of decision, in order."""
    with closing(open_transcript(run.path / TRANSCRIPT)) as transcript:
        conversations = list(transcript.conversations(kind=kind))
    return [[message["content"] for message in c["messages"]] for c in conversations]


def test_models_are_asked_in_the_users_words(words, tmp_path):
    run = je.run(asking(words), out=tmp_path / "run")
    assert all("Du arbeitest" in system for system, _ in asked(run, "labor"))
    assert all(re.search(r"Tag \d+\.$", user) for _, user in asked(run, "labor"))
    assert all("You live in" in system for system, _ in asked(run, "satisfaction"))
    assert run.manifest["prompts"] == Prompts(words).digest() != Prompts().digest()
    assert [path.name for path in (run.path / PROMPTS).iterdir()] == ["labor.jinja"]
    assert run.config.llm.prompts == str(run.path / PROMPTS)


def test_a_run_is_continued_without_the_users_folder(words, tmp_path):
    """Its own copy is enough to resume, replay and branch it."""
    whole = je.run(asking(words), out=tmp_path / "whole")
    killed = run_killed(asking(words), tmp_path / "run", year=1, day=4)
    shutil.rmtree(words)
    resumed = je.resume(killed)
    assert resumed.manifest["resumed"][0]["changed"] == []
    assert resumed.manifest["resumed"][0]["harmless"] == []
    assert digest(killed) == digest(whole.path)
    assert je.replay(killed).equal
    (branched,) = je.branch(killed, year=1, out=tmp_path / "branch")
    assert branched.manifest["prompts"] == whole.manifest["prompts"]
    assert branched.manifest["branched_from"]["changed"] == []
    assert (branched.path / PROMPTS / "labor.jinja").read_text() == GERMAN
    assert je.replay(branched.path).equal


def test_what_becomes_of_the_users_folder_while_it_runs_does_not_matter(words, tmp_path):
    """Not even to words that are asked later: the run reads its own copy, once."""
    person = words / "person.jinja"
    person.write_text("Du verdienst {{ skill|whole }}.\n")

    def vanish():
        person.write_text("Nothing.\n")
        (words / "labor.jinja").unlink()

    run = je.run(asking(words), out=tmp_path / "run", listener=At(vanish, year=0, day=1))
    assert all("Du arbeitest" in system for system, _ in asked(run, "labor"))
    assert all(user.startswith("Du verdienst") for _, user in asked(run, "satisfaction"))
    assert je.replay(run.path).equal


def test_a_part_of_ones_own_is_among_the_words(words, tmp_path):
    labor = words / "labor.jinja"
    labor.write_text(labor.read_text().replace("Tag", '{% include "extra.jinja" %}Tag'))
    (words / "extra.jinja").write_text("Kurz. ")
    killed = run_killed(asking(words), tmp_path / "run", year=1, day=4)
    assert (killed / PROMPTS / "extra.jinja").read_text() == "Kurz. "
    (killed / PROMPTS / "extra.jinja").write_text("Lang. ")
    with pytest.raises(UserError, match="not what the run began with: the prompts"):
        je.resume(killed)


def test_a_forced_resumption_that_is_killed_can_be_repeated(words, tmp_path, monkeypatch):
    """The copy is replaced before the manifest, so that the same command goes on."""
    killed = run_killed(asking(words), tmp_path / "run", year=1, day=4)
    other = tmp_path / "other"
    other.mkdir()
    (other / "person.jinja").write_text("You earn {{ skill|whole }}.\n")
    forced = {"force": True, "overrides": [f"llm.prompts={other}"]}
    with monkeypatch.context() as patched:
        patched.setattr(Recorder, "update", lambda *_, **__: interrupt())
        with pytest.raises(Interrupted):
            je.resume(killed, **forced)
    resumed = je.resume(killed, **forced)
    assert [path.name for path in (killed / PROMPTS).iterdir()] == ["person.jinja"]
    assert resumed.manifest["prompts"] == Prompts(other).digest()
    assert any(user.startswith("You earn") for _, user in asked(resumed, "satisfaction"))


def test_a_branch_may_be_asked_in_other_words(words, tmp_path):
    """What was asked in the same words is answered from the run's transcript."""
    run = je.run(HYBRID, out=tmp_path / "run")
    overrides = [f"llm.prompts={words}"]
    (branched,) = je.branch(run.path, year=1, out=tmp_path / "branch", overrides=overrides)
    (changed,) = branched.manifest["branched_from"]["changed"]
    assert re.fullmatch(r"the prompts: \w{12} -> \w{12}", changed)
    assert all("Du arbeitest" in system for system, _ in asked(branched, "labor"))
    assert je.replay(branched.path).equal
    (back,) = je.branch(
        branched.path, year=2, out=tmp_path / "back", overrides=["llm.prompts=null"]
    )
    assert not (back.path / PROMPTS).exists()
    assert back.manifest["prompts"] == run.manifest["prompts"]


def test_changed_words_are_refused_and_forced(words, tmp_path):
    killed = run_killed(asking(words), tmp_path / "run", year=1, day=4)
    kept = killed / PROMPTS / "labor.jinja"
    kept.write_text(GERMAN.replace("Du arbeitest", "Sie arbeiten"))
    before = (killed / MANIFEST).read_text()
    with pytest.raises(UserError, match=r"not what the run began with: the prompts: \w+ -> \w+"):
        je.resume(killed)
    assert (killed / MANIFEST).read_text() == before
    resumed = je.resume(killed, force=True)
    assert resumed.manifest["prompts"] == Prompts(killed / PROMPTS).digest()
    assert any("Sie arbeiten" in system for system, _ in asked(resumed, "labor"))


def test_other_templates_replace_the_copy(words, tmp_path):
    killed = run_killed(asking(words), tmp_path / "run", year=1, day=4)
    other = tmp_path / "other"
    other.mkdir()
    (other / "person.jinja").write_text("You earn {{ skill|whole }}.\n")
    resumed = je.resume(killed, force=True, overrides=[f"llm.prompts={other}"])
    assert [path.name for path in (killed / PROMPTS).iterdir()] == ["person.jinja"]
    assert resumed.manifest["prompts"] == Prompts(other).digest()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GERMAN.replace("skill", "wage"), "line 12: 'wage' is unknown; did you mean 'agent'"),
        (GERMAN.replace('"hours"', "hours"), r"does not say to answer with JSON"),
        (GERMAN.replace("{% endblock %}", "", 1), "line 13: Unexpected end of template"),
        ("", "has no block `system`"),
    ],
)
def test_templates_are_checked_before_anything_is_written(words, tmp_path, text, expected):
    (words / "labor.jinja").write_text(text)
    with pytest.raises(UserError, match=expected) as caught:
        je.run(asking(words), out=tmp_path / "run")
    assert str(caught.value).startswith(f"llm.prompts: {words / 'labor.jinja'}")
    assert not (tmp_path / "run").exists()


def test_a_template_that_fails_later_ends_the_run_in_one_line(words, tmp_path):
    """On a day that no sample has; the run can be resumed once the template is mended."""
    wrong = GERMAN.replace("Tag", "{{ 1 // (3 - day) if economy.days == 6 }} Tag")
    (words / "labor.jinja").write_text(wrong)
    with pytest.raises(UserError, match=r"labor\.jinja, from line 12: .*by zero"):
        je.run(asking(words), out=tmp_path / "run")
    (tmp_path / "run" / PROMPTS / "labor.jinja").write_text(GERMAN)
    resumed = je.resume(tmp_path / "run", force=True)
    assert resumed.manifest["status"] == "complete"


def test_the_key_of_a_request_holds_its_template(words, tmp_path):
    """The same text from other words is another request: it is asked again."""
    run = je.run(HYBRID, out=tmp_path / "run")
    same_text = tmp_path / "same"
    same_text.mkdir()
    labor = (FOLDER / "labor.jinja").read_text()
    never = '{% if objective == "nothing" %}\nNothing.\n{% endif %}\n{% endblock %}'
    (same_text / "labor.jinja").write_text(labor.replace("{% endblock %}", never, 1))
    other = je.run(asking(same_text), out=tmp_path / "other")
    assert asked(run, "labor") == asked(other, "labor")
    keys = []
    for path in (run.path, other.path):
        with closing(open_transcript(path / TRANSCRIPT)) as transcript:
            keys.append({kind: set(_keys(transcript, kind)) for kind in ("labor", "satisfaction")})
    assert not keys[0]["labor"] & keys[1]["labor"]
    assert keys[0]["satisfaction"] == keys[1]["satisfaction"]


def _keys(transcript, kind):
    return [conversation["key"] for conversation in transcript.conversations(kind=kind)]


def test_an_interrupted_run_keeps_its_words(words, tmp_path):
    with pytest.raises(Interrupted):
        je.run(asking(words), out=tmp_path / "run", listener=At(interrupt, year=0, day=2))
    shutil.rmtree(words)
    assert json.loads((tmp_path / "run" / MANIFEST).read_text())["status"] == "interrupted"
    assert je.resume(tmp_path / "run").manifest["status"] == "complete"
