"""Old import paths say where their names are now; the two that users' own code imports stay."""

import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec

import pytest

from jaxecon.core.moved_modules import MOVED


@pytest.mark.parametrize("old", MOVED)
def test_an_old_path_names_the_new_one(old):
    with pytest.raises(ModuleNotFoundError) as caught:
        import_module(old)
    assert str(caught.value) == f"{old} has moved to {MOVED[old]}"
    assert caught.value.name == old
    for new in MOVED[old].split(", "):
        assert find_spec(new) is not None, new


@pytest.mark.parametrize("module", ["jaxecon.workers", "jaxecon.workers.base", "jaxecon.planners"])
def test_paths_that_users_import_stay(module):
    assert import_module(module).__name__ == module


def test_a_module_that_never_was_is_simply_not_found():
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'jaxecon\.nowhere'$"):
        import_module("jaxecon.nowhere")


def test_a_users_rule_with_an_old_import_ends_in_one_line(tmp_path):
    (tmp_path / "own.py").write_text("from jaxecon.labor import HOURS\nclass Own:\n    pass\n")
    cohort = "population.cohorts=[{name: a, rule: 'own:Own', size: 2}]"
    done = subprocess.run(
        [sys.executable, "-m", "jaxecon", "run", "--set", cohort, "--out", "run"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"jaxecon.labor has moved to {MOVED['jaxecon.labor']}" in done.stderr
