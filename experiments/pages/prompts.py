"""The prompts that docs/language-models.md shows, from a run.

    python -m experiments.pages.prompts

writes them into the page, between its two marks. A test holds that the page is what this writes.
"""

import tempfile
from pathlib import Path
from typing import Any

from jaxecon.core.files import write_atomically
from jaxecon.simulation.run import run as simulate
from llm.engines.obedient import ObedientReader

PAGE = Path(__file__).resolve().parents[2] / "docs" / "language-models.md"
BEGIN, END = "<!-- prompts: begin -->\n", "<!-- prompts: end -->\n"

# Everybody but the readers responds exactly, so that no draw decides what is shown.
SETTINGS: dict[str, Any] = {
    "years": 30,
    "year": {"days": 8},
    "population": {
        "cohorts": [
            {"name": "others", "rule": "rational", "size": 60},
            {"name": "workers", "rule": "llm", "size": 4},
        ]
    },
    "schedule": {"brackets": "three"},
    "planner": {"kind": "llm", "compared_with": []},
    "llm": {"engine": "simulated"},
    "record": {"agents": "none"},
}
# What is shown: the title, and the decision's kind, year and day, counted from 0.
SHOWN = (
    ("A worker in its second year", "labor", 1, 4),
    ("The planner after 22 years", "plan", 22, 0),
)


def transcript() -> str:
    """The prompts in Markdown, with what the obedient reader answers."""
    reader = ObedientReader()
    with tempfile.TemporaryDirectory() as folder:
        simulate(SETTINGS, out=Path(folder) / "run", engine=reader)
    parts = []
    for title, kind, year, day in SHOWN:
        request, answer = next(
            (request, answer)
            for request, answer in zip(reader.asked, reader.answers, strict=True)
            if (request.draw.kind, request.draw.year, request.draw.day) == (kind, year, day)
        )
        texts = [f"{m.role.upper()}\n{m.content}" for m in request.messages]
        chat = "\n\n".join([*texts, f"ANSWER\n{answer}"])
        parts.append(f"**{title}**\n\n```text\n{chat}\n```\n")
    return "\n".join(parts)


def page() -> str:
    """The page as it should be."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{transcript()}\n{END}{after}"


def main() -> None:
    write_atomically(PAGE, page().encode())


if __name__ == "__main__":
    main()
