"""The notebooks run from a fresh kernel, and their results are those committed with them."""

import importlib.util
import re
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
NUMBER = re.compile(r"[-+]?\d[\d,]*\.?\d*")
MAX_BYTES = 200_000


@pytest.fixture(scope="module")
def execute():
    """notebooks/execute.py, which is a script and no package."""
    path = NOTEBOOKS[0].with_name("execute.py")
    spec = importlib.util.spec_from_file_location("execute_notebooks", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def printed(notebook):
    """The text of each cell's outputs."""
    return [
        "".join(out.get("text", "") for out in cell.outputs)
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def images(notebook):
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    return sum("image/png" in out.get("data", {}) for out in outputs)


def test_there_are_notebooks():
    assert [path.name for path in NOTEBOOKS] == ["01_first_run.ipynb", "02_hybrid_economy.ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_notebooks_are_small_and_complete(path):
    assert path.stat().st_size < MAX_BYTES
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == [*range(1, len(counts) + 1)]  # executed once, from top to bottom


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run_and_give_the_committed_results(path, execute, tmp_path, monkeypatch):
    """Words exactly, numbers to a hundredth: other processors round otherwise."""
    root = str(path.parents[1])
    monkeypatch.setenv("PYTHONPATH", root)
    fresh, committed = execute.executed(path, tmp_path), nbformat.read(path, as_version=4)
    assert images(fresh) == images(committed)
    assert not list(tmp_path.iterdir())  # runs go to temporary folders
    for now, before in zip(printed(fresh), printed(committed), strict=True):
        assert NUMBER.sub("#", now).split() == NUMBER.sub("#", before).split()
        numbers = [
            [float(number.replace(",", "")) for number in NUMBER.findall(text)]
            for text in (now, before)
        ]
        assert numbers[0] == pytest.approx(numbers[1], rel=0.01, abs=0.01)
