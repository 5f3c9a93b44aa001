"""Microdata and own rules that are not those with which a run was made are named and refused."""

import re
import shutil
import sys

import pytest
from support.damaged_folders import flip
from support.runs import snapshot

import jaxecon as je
from jaxecon.config.read import load_config
from jaxecon.core.errors import UserError
from jaxecon.simulation import repair
from jaxecon.simulation.changes import changed_inputs
from jaxecon.storage.provenance import sources_of_rule
from llm.engines.vllm import engine_identity

RULE = "from changed_helper import FACTOR\nfrom jaxecon.workers import Rational\n"
RULE += "class Mine(Rational):\n    factor = FACTOR\n"
FILES = {
    "people.csv": "skill\n500\n1000\n2000\n",
    "changed_rule.py": RULE,
    "changed_helper.py": "import json\nFACTOR = 1\n",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with microdata, an own rule and the module that it imports; and a run of them."""
    folder = tmp_path_factory.mktemp("changed")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    sys.path.insert(0, str(folder))
    cohort = {"name": "own", "rule": "changed_rule:Mine", "size": 6}
    je.run(
        {
            "years": 2,
            "year": {"days": 2},
            "population": {
                "cohorts": [cohort],
                "skills": "file",
                "file": str(folder / "people.csv"),
            },
            "planner": {"kind": "fixed", "compared_with": ["us_federal"]},
            "checkpoint": {"every_years": 1, "every_minutes": None, "keep_last": 9},
        },
        out=folder / "run",
    )
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture(params=list(FILES))
def changed(request, place):
    """The name under which the run knows a file, while this file has another content."""
    path = place / request.param
    path.write_text(FILES[request.param] + ("9000\n" if path.suffix == ".csv" else "# more\n"))
    yield {
        "people.csv": "population.file",
        "changed_rule.py": "population.cohorts.0.rule",
        "changed_helper.py": "population.cohorts.0.rule (changed_helper.py)",
    }[request.param]
    path.write_text(FILES[request.param])


def test_replay_resume_and_branch_name_it_and_change_nothing(place, changed, tmp_path):
    run, named = place / "run", re.escape(f"the content of {changed}")
    before = snapshot(run)
    with pytest.raises(UserError, match=f"cannot be computed again: {named} is not what"):
        je.replay(run, out=tmp_path / "again")
    with pytest.raises(UserError, match=f"not what the run began with: {named}; --force"):
        je.resume(run)
    with pytest.raises(UserError, match=f"not what the run began with: {named}; --force"):
        je.branch(run, year=1, out=tmp_path / "branch")
    assert snapshot(run) == before
    assert not any(tmp_path.iterdir())


def test_repair_names_it_before_it_computes(place, changed, tmp_path, monkeypatch):
    run = shutil.copytree(place / "run", tmp_path / "run")
    for file in ("manifest.json", "config.yaml"):  # its files lie beside the first one
        text = (run / file).read_text()
        (run / file).write_text(text.replace("../people.csv", str(place / "people.csv")))
    flip(run / "years.parquet" / "part-00000000.parquet", 100)
    before = snapshot(run)
    monkeypatch.setattr(repair, "compute_again", pytest.fail)
    with pytest.raises(UserError, match=f"cannot be computed again: .*{re.escape(changed)}"):
        je.repair(run)
    for refused in (je.resume, je.replay):
        with pytest.raises(UserError) as error:
            refused(run)
        assert "jaxecon repair" not in str(error.value)
    assert snapshot(run) == before


def test_a_forced_branch_says_and_records_it(place, tmp_path):
    (place / "people.csv").write_text(FILES["people.csv"].replace("2000", "9000"))
    told = []
    try:
        (branch,) = je.branch(
            place / "run", year=1, out=tmp_path / "branch", force=True, tell=told.append
        )
        assert told[0].forced == ("the content of population.file",)
        assert branch.manifest["branched_from"]["changed"] == ["the content of population.file"]
        assert je.replay(branch.path).equal  # of what the branch itself began with
        shutil.rmtree(place / "run" / "checkpoints" / "00000001-000000")
        with pytest.raises(UserError, match="cannot be computed again: the content of pop"):
            je.branch(place / "run", year=1, out=tmp_path / "other", force=True)
        assert not (tmp_path / "other").exists()
    finally:
        (place / "people.csv").write_text(FILES["people.csv"])


def test_an_equal_copy_elsewhere_is_the_same_file(place, tmp_path):
    run = shutil.copytree(place / "run", tmp_path / "run")
    copy = shutil.copy(place / "people.csv", tmp_path / "copy.csv")
    with pytest.raises(UserError, match=r"population\.file: .*people\.csv: cannot be read"):
        je.replay(run)  # beside the copied run there are no people
    resumed = je.resume(run, overrides=[f"population.file={copy}"])
    assert resumed.config.population.file == str(copy)
    assert je.replay(run).equal
    (branch,) = je.branch(
        place / "run", year=2, out=tmp_path / "b", overrides=[f"population.file={copy}", "years=3"]
    )
    assert branch.manifest["branched_from"]["changed"] == ["years: 2 -> 3"]
    other = tmp_path / "other.csv"
    other.write_text("skill\n1\n2\n3\n")
    with pytest.raises(UserError, match=r"began with: population\.file: .* -> .*other\.csv"):
        je.resume(run, overrides=[f"population.file={other}"])


def local_model(folder, weights):
    """A folder that vLLM would load a model from, as far as its identity goes."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"layers": 1}')
    (folder / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def test_a_model_that_was_moved_is_the_same_by_its_content(tmp_path):
    one, other = local_model(tmp_path / "a" / "model", b"weights"), tmp_path / "b" / "model"
    shutil.copytree(one, other)
    manifest = {"files": {}, "identities": {"llm": engine_identity(str(one))}}

    def differences(model):
        configs = [
            load_config({"llm": {"engine": "vllm", "model": str(path)}}) for path in (one, model)
        ]
        return changed_inputs(manifest, configs[0].model_dump(mode="json"), configs[1])

    line = f"llm.model: {one} -> {other}"
    assert differences(other) == ([], [line], [])
    shutil.move(one, tmp_path / "gone")
    assert differences(other) == ([], [line], [])
    (other / "model.safetensors").write_bytes(b"others")
    assert differences(other) == ([line], [], [])
    shutil.rmtree(other)
    assert differences(other) == ([line], [], [])


@pytest.mark.parametrize("swapped", ["llm", "llm.others.b", "llm.others.c", "both"])
def test_another_model_of_the_run_is_another_one(tmp_path, swapped):
    """Each section is compared with its own model: a cohort's, the planner's or a fallback."""
    places = {name: local_model(tmp_path / name / "model", name.encode()) for name in "abc"}
    sections = {"llm": "a", "llm.others.b": "b", "llm.others.c": "c"}

    def config_of(models):
        paths = {section: str(models[name]) for section, name in sections.items()}
        others = {
            "b": {"engine": "vllm", "model": paths["llm.others.b"], "fallback": "c"},
            "c": {"engine": "vllm", "model": paths["llm.others.c"]},
        }
        cohorts = [
            {"name": "mechanical", "rule": "rational", "size": 4},
            {"name": "clerks", "rule": "llm", "size": 2},
        ]
        return load_config(
            {
                "population": {"cohorts": cohorts},
                "planner": {"kind": "llm", "llm": "b"},
                "llm": {"engine": "vllm", "model": paths["llm"], "others": others},
            }
        )

    identities = {
        name: engine_identity(str(places[model]))
        for name, model in (("clerks", "a"), ("planner", "b"), ("llm.others.c", "c"))
    }
    manifest = {"files": {}, "identities": identities}
    before = config_of(places).model_dump(mode="json")
    moved = {name: shutil.copytree(p, tmp_path / "moved" / name) for name, p in places.items()}
    for name in moved:  # an identity has the last component of the folder
        moved[name] = shutil.move(moved[name], tmp_path / "moved" / f"of-{name}" / "model")
    changed, free, _ = changed_inputs(manifest, before, config_of(moved))
    assert changed == []
    assert {line.partition(": ")[0] for line in free} == {f"{name}.model" for name in sections}
    wrong = ("llm", "llm.others.b") if swapped == "both" else (swapped,)
    swap = {sections[section]: moved["b" if section == "llm" else "a"] for section in wrong}
    changed, free, _ = changed_inputs(manifest, before, config_of({**moved, **swap}))
    assert {line.partition(": ")[0] for line in changed} == {f"{name}.model" for name in wrong}
    assert len(free) == len(sections) - len(wrong)


def test_a_file_that_is_gone_is_one_line(place, tmp_path):
    (place / "people.csv").rename(place / "gone.csv")
    try:
        for go in (
            lambda: je.replay(place / "run"),
            lambda: je.resume(place / "run"),
            lambda: je.branch(place / "run", year=1, out=tmp_path / "b", force=True),
        ):
            with pytest.raises(UserError, match=r"^population\.file: .*people\.csv: cannot be r"):
                go()
    finally:
        (place / "gone.csv").rename(place / "people.csv")


def test_what_a_rule_imports_from_beside_it_belongs_to_it(tmp_path, monkeypatch):
    """However indirectly; but no installed package and nothing that is not imported."""
    package = tmp_path / "own_rules"
    (package / "inner").mkdir(parents=True)
    texts = {
        "own_rules/__init__.py": "",
        "own_rules/inner/__init__.py": "",
        "own_rules/inner/mine.py": "import jax\nfrom ..shared import X\nfrom jaxecon.workers "
        "import Rational\nclass Mine(Rational):\n    pass\n",
        "own_rules/shared.py": "def later():\n    import beside_the_package\nX = 1\n",
        "own_rules/unused.py": "",
        "beside_the_package.py": "",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    sources = sources_of_rule("own_rules.inner.mine:Mine", "rule")
    assert sources.pop("rule") == package / "inner" / "mine.py"
    assert set(sources) == {
        f"rule ({name})" for name in texts if not name.endswith(("mine.py", "unused.py"))
    }
