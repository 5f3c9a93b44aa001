"""Writes the tree in docs/design.md from the files that git knows: `python -m support.tree`."""

import subprocess
import textwrap
from collections import defaultdict
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "design.md"
BEGIN, END = "<!-- tree -->\n", "<!-- end of tree -->\n"
SHOWN = ("jaxecon", "llm", "experiments", "tests", "notebooks", "docs")
SUFFIXES = {".py", ".ipynb", ".md"}
WIDTH = 98


def tree() -> str:
    """A line (wrapped) for each folder: its files, without `.py` and without package markers."""
    listed = subprocess.run(
        ["git", "ls-files", *SHOWN], cwd=ROOT, capture_output=True, text=True, check=True
    )
    folders: dict[str, list[str]] = defaultdict(list)
    for line in listed.stdout.splitlines():
        path = PurePosixPath(line)
        if path.suffix in SUFFIXES and path.name != "__init__.py":
            folders[f"{path.parent}/"].append(path.name.removesuffix(".py"))
    wide = max(map(len, folders)) + 2
    lines = []
    for folder in sorted(folders, key=lambda name: (SHOWN.index(name.split("/")[0]), name)):
        first = f"    {folder:<{wide}}"
        files = " ".join(sorted(folders[folder]))
        lines += textwrap.wrap(
            files,
            WIDTH,
            initial_indent=first,
            subsequent_indent=" " * len(first),
            break_on_hyphens=False,
        )
    return "\n".join(lines) + "\n"


def with_tree(page: str) -> str:
    """The page with the tree of today between its marks."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{tree()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(with_tree(PAGE.read_text()))
