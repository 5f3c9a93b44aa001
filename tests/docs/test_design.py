"""docs/design.md says what is there."""

import ast
import re
import statistics
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


def python_files(*folders):
    listed = subprocess.run(
        ["git", "ls-files", *(f"{folder}/*.py" for folder in folders)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [file for file in listed.stdout.splitlines() if not file.endswith("__init__.py")]


def lines_of(file):
    return (ROOT / file).read_text().splitlines()


PRODUCT = ("jaxecon", "llm", "experiments")


@pytest.mark.parametrize(("folders", "most"), [(PRODUCT, 400), (["tests"], 500)])
def test_no_file_is_too_long_and_no_line_too_wide(folders, most):
    lines = {file: lines_of(file) for file in python_files(*folders)}
    assert not [file for file in lines if len(lines[file]) > most]
    assert not [file for file in lines if max(map(len, lines[file]), default=0) > 100]


def test_half_of_the_files_have_at_most_150_lines():
    assert statistics.median(len(lines_of(file)) for file in python_files(*PRODUCT)) <= 150


def test_no_function_has_more_than_60_lines():
    long = []
    for file in python_files(*PRODUCT, "tests"):
        for node in ast.walk(ast.parse((ROOT / file).read_text())):
            if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno + 1 > 60:
                long.append(f"{file}: {node.name}")
    assert not long
