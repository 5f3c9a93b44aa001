"""Settings with another name now: refused with a hint, and translated where they are stored."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from jaxecon.config.fields import check_name
from jaxecon.config.read import load_config
from jaxecon.config.renamed_settings import RENAMED, migrate
from jaxecon.config.settings import Config
from jaxecon.core.errors import UserError
from jaxecon.storage.run import Run
from jaxecon.sweeps.design import read as read_design
from jaxecon.sweeps.points import Points

RUNS = Path(__file__).parents[3] / "shared" / "data" / "runs"


def nested(name, value):
    for part in reversed(name.split(".")):
        value = {part: value}
    return value


def value_of(tree, name):
    for part in name.split("."):
        tree = tree[part]
    return tree


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_name_is_refused_with_todays(tmp_path, old):
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(nested(old, 1)))
    section = old.partition(".")[0] if old.partition(".")[0] in RENAMED else old
    for name, refused in (
        (old, lambda: load_config(config)),
        (old, lambda: load_config(None, [f"{old}=1"])),
        (old, lambda: Points(read_design({"grid": {old: [1, 2]}}))),
        (section, lambda: Points(read_design({"run": nested(old, 1), "seeds": 2}))),
    ):
        with pytest.raises(UserError) as caught:
            refused()
        assert str(caught.value) == f"{name}: this setting is called {RENAMED[name]} now"


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_todays_names_are_settings(old, new):
    check_name(new, {})
    assert new not in RENAMED


def test_a_setting_in_a_renamed_section():
    line = "signatures.fallback_rate.limit: this setting is called diagnostics.fallback_rate.limit"
    with pytest.raises(UserError, match=line):
        load_config(None, ["signatures.fallback_rate.limit=0.5"])


def test_the_command_exits_with_2(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "jaxecon", "run", "--set", "signatures.fallback_rate.limit=1"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "called diagnostics.fallback_rate.limit now" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_what_was_stored_is_translated(old, new):
    default = value_of(load_config().model_dump(mode="json"), new)
    assert value_of(migrate(nested(old, default)), new) == default
    assert migrate(nested(new, default)) == nested(new, default)


def test_todays_settings_are_left_as_they_are():
    tree = load_config(
        {
            "population": {"cohorts": [{"name": "a", "rule": "fixed", "size": 1}]},
            "llm": {"others": {"gpt-4.1 mini": {"engine": "openai"}}},
        }
    ).model_dump(mode="json")
    assert list(migrate(tree).items()) == list(tree.items())
    assert Config.model_validate(migrate(tree)) == Config.model_validate(tree)


@pytest.mark.parametrize("name", ["strong-planner", "strong-workers"])
def test_runs_of_the_first_format_are_read(name):
    if not (RUNS / name).is_dir():
        pytest.skip("the shared runs are not on this machine")
    text = (RUNS / name / "config.yaml").read_text()
    assert Run(RUNS / name).config == load_config(migrate(yaml.safe_load(text)))
