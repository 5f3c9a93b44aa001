"""What an experiment leaves on disk: tables, notes and report.md."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.suite.study import write_parquet
from experiments.suite.tables import Table, markdown
from jaxecon.core.files import write_atomically
from jaxecon.core.json_text import json_text
from jaxecon.core.text import plural
from jaxecon.storage.portable import portable_text
from jaxecon.storage.provenance import environment

MIN_POPULATIONS = 30  # of a mechanical design, below which a note warns


@dataclass(frozen=True)
class Report:
    """An experiment's results.

    figures: paths of the PNG files. notes: remarks on all tables. failed: number of failed points.
    """

    name: str
    question: str
    folder: Path
    tables: list[Table]
    figures: list[Path]
    notes: list[str]
    failed: int


def write_table(out: Path, table: Table) -> None:
    """Write a table as JSON, and its rows as Parquet, in out/tables."""
    folder = out / "tables"
    folder.mkdir(exist_ok=True)
    write_parquet(folder / f"{table.name}.parquet", table.rows)
    write_json(folder / f"{table.name}.json", vars(table))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON with null for NaN, without places of this machine."""
    text = portable_text(json_text(content, indent=1), path.parent)
    write_atomically(path, text.encode() + b"\n")


def notes_on(manifest: Mapping[str, Any]) -> list[str]:
    """How to read the tables, what failed, and which designs are small or only described."""
    notes = [
        "Intervals: 95 %, bootstrap (BCa) over populations, which all arms share. p: sign-flip "
        "permutation test of the paired "
        "differences, corrected by Holm's method for all comparisons of its table. d: mean "
        "difference in standard deviations "
        "of the differences."
    ]
    for name, account in manifest["designs"].items():
        if account["failed"]:
            notes.append(
                f"FAILED: {account['failed']} of {plural(account['points'], 'point')} of {name}: "
                f"{'; '.join(account['errors'])}"
            )
        if name.startswith("mechanical.") and account["populations"] < MIN_POPULATIONS:
            notes.append(
                f"{name}: {plural(account['populations'], 'population')}; fewer than "
                f"{MIN_POPULATIONS} tell little."
            )
        if account["answers"]:
            models = ", ".join(account["models"])
            notes.append(
                f"{name}: {plural(account['answers'], 'answer')} by {models}, "
                f"{plural(account['fallbacks'], 'fallback')}. Described, not tested."
            )
        if any("(simulated)" in model for model in account["models"]):
            notes.append(f"{name}: the simulated engine is rules, no language model.")
    if manifest["llm"].startswith("left out"):
        notes.append("Arms with language models are left out (--no-llm).")
    return notes


def report_text(report: Report, size: str, captions: Sequence[str]) -> str:
    """report.md: the question, all tables and figures, notes, the machine."""
    hardware = environment()["hardware"]
    parts = [f"# {report.name} ({size})", report.question]
    for table in report.tables:
        parts.append(markdown(table))
    for path, caption in zip(report.figures, captions, strict=True):
        parts.append(f"![{caption}](figures/{path.name})\n\n{caption}")
    parts.append("\n".join(f"- {note}" for note in report.notes))
    parts.append(
        f"{hardware['cpu']}, {hardware['visible_cores']} cores; {', '.join(hardware['devices'])}."
    )
    return "\n\n".join(parts) + "\n"
