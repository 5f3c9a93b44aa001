"""docs/design.md says what is there."""

import re
import subprocess

import pytest
from support.tree import PAGE, ROOT, with_tree

TEXT = PAGE.read_text()
QUESTIONS = re.findall(r"^\| (.+) \| `(.+)` \|$", TEXT.split("## Where is ...?")[1], re.MULTILINE)


def test_the_tree_is_that_of_git():
    assert with_tree(TEXT) == TEXT, "PYTHONPATH=.:tests python -m support.tree writes it"


def test_twenty_questions_have_their_files():
    assert len(QUESTIONS) == 20
    missing = [file for _, file in QUESTIONS if not (ROOT / file).is_file()]
    assert not missing


def test_links_between_pages_lead_somewhere():
    broken = []
    for page in [*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            if not (page.parent / target).exists():
                broken.append(f"{page.name}: {target}")
    assert not broken


def test_modules_that_pages_name_exist():
    """`python -m module` and paths of Python files in README and docs."""
    missing = []
    for page in [*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        text = page.read_text()
        for module in re.findall(r"python -m ((?:experiments|jaxecon|llm)[\w.]*\w)", text):
            path = ROOT / module.replace(".", "/")
            if not (path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()):
                missing.append(f"{page.name}: {module}")
        for file in re.findall(
            r"`((?:jaxecon|llm|experiments|tests)/[\w/.-]+\.(?:py|yaml))`", text
        ):
            if "NAME" not in file and not (ROOT / file).is_file():
                missing.append(f"{page.name}: {file}")
    assert not missing


@pytest.mark.parametrize("folder", ["jaxecon", "llm", "experiments"])
def test_the_cuts_hold(folder):
    """Files of at most 400 lines, with a median of at most 150."""
    listed = subprocess.run(
        ["git", "ls-files", f"{folder}/*.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = sorted(
        len((ROOT / file).read_text().splitlines())
        for file in listed.stdout.splitlines()
        if not file.endswith("__init__.py")
    )
    assert lines[-1] <= 400
    assert lines[len(lines) // 2] <= 150
