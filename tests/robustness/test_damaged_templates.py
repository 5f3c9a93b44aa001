"""Damaged templates of a run: what would ask in other words is refused, all else can be read."""

import shutil

import pytest
from support.damaged_folders import flip_middle, halve, lose, not_text, rename
from support.runs import HYBRID, run_killed, unchanged_by_reading

import jaxecon as je
from jaxecon.core.errors import UserError
from jaxecon.storage.digest import digest

pytestmark = pytest.mark.usefixtures("no_git")


@pytest.fixture(scope="module")
def worded(tmp_path_factory):
    """A run with templates of its own, and as it was on the second day of its second year."""
    folder = tmp_path_factory.mktemp("worded")
    (folder / "words").mkdir()
    (folder / "words" / "person.jinja").write_text("You earn {{ skill|whole }}.\n")
    config = {
        **HYBRID,
        "years": 2,
        "year": {"days": 4},
        "checkpoint": {"every_days": 2, "every_minutes": None, "keep_last": 100},
        "llm": {"engine": "simulated", "prompts": str(folder / "words")},
        "satisfaction": {"judged": False},
    }
    killed = run_killed(config, folder / "run", year=1, day=2)
    shutil.rmtree(folder / "words")
    return killed.with_name("run"), killed


TEMPLATES = (
    lose,
    halve,
    flip_middle,
    rename,
    not_text,
    lambda path: shutil.rmtree(path.parent),
    lambda path: path.with_name("labor.jinja").write_text("{% block user %}"),
)


@pytest.mark.parametrize("damage", TEMPLATES)
def test_damaged_templates_of_a_run(worded, tmp_path, damage):
    """Tables can be read; what would ask or answer in other words is refused, and says why."""
    complete, killed = (shutil.copytree(run, tmp_path / run.name) for run in worded)
    (complete / "years.parquet" / "part-00000000.parquet").unlink()
    for run in (complete, killed):
        damage(run / "prompts" / "person.jinja")
    before = [unchanged_by_reading(run) for run in (complete, killed)]
    assert digest(killed) == digest(worded[1])
    for go in (
        lambda: je.resume(killed),
        lambda: je.replay(killed, out=tmp_path / "again"),
        lambda: je.branch(killed, year=1, out=tmp_path / "branch"),
        lambda: je.repair(complete),
    ):
        with pytest.raises(UserError, match=r"prompts|other words") as refused:
            go()
        assert len(str(refused.value).splitlines()) == 1
    assert [unchanged_by_reading(run) for run in (complete, killed)] == before
    assert not (tmp_path / "branch").exists()
