"""Execute the notebooks in place, which renews the outputs that are committed with them.

python notebooks/execute.py [NAME.ipynb ..]      # all of them without a name
"""

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

FOLDER = Path(__file__).resolve().parent
TIMEOUT = 600  # seconds a cell


def executed(path: Path, folder: Path) -> NotebookNode:
    """The notebook with fresh outputs, executed with `folder` as its working directory.

    Raises nbclient.exceptions.CellExecutionError where a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
    )
    client.execute()
    notebook.metadata.language_info = NotebookNode(name="python")  # the same on every machine
    for cell in notebook.cells:
        if cell.cell_type == "code":  # what libraries warn of is no result
            cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
    return notebook


def main() -> None:
    paths = [Path(name) for name in sys.argv[1:]] or sorted(FOLDER.glob("*.ipynb"))
    for path in paths:
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(executed(path, Path(folder)), path)
        print(path)


if __name__ == "__main__":
    main()
