"""The committed results of experiments: reads their tables, and copies finished ones."""

import json
import math
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from experiments.suite.tables import Table, renamed_keys, table_from
from experiments.suite.wording import STATISTICS, interval_text, p_text
from jaxecon.core.errors import UserError
from jaxecon.core.json_text import json_text
from jaxecon.core.text import plural

RESULTS = Path(__file__).resolve().parents[1] / "results"

# ends of intervals: null in JSON where one population has none
_ENDS = ("low", "high", "difference_low", "difference_high")
# entries of a manifest that are kept
_KEPT = (
    "name",
    "size",
    "llm",
    "versions",
    "hardware",
    "git_revision",
    "designs",
    "tables",
    "figures",
    "seconds",
)


class AbsentTableError(Exception):
    """An experiment has run without writing this table."""


@cache
def read_json(path: Path) -> dict[str, Any]:
    """The content of a stored file, which is read once."""
    return dict(json.loads(path.read_text()))


def manifest_of(name: str) -> dict[str, Any]:
    """An experiment's manifest."""
    return read_json(RESULTS / name / "manifest.json")


def stored_table(name: str, table: str) -> dict[str, Any]:
    """A table's JSON, with NaN for unknown ends of intervals. Raises AbsentTableError."""
    if table not in manifest_of(name)["tables"]:
        option = " --no-llm" if manifest_of(name)["llm"].startswith("left out") else ""
        raise AbsentTableError(f"`jaxecon experiment {name}{option}` left no table `{table}`.")
    stored = read_json(RESULTS / name / "tables" / f"{table}.json")
    return stored | {
        "rows": [
            row | {end: math.nan for end in _ENDS if end in row and row[end] is None}
            for row in renamed_keys(stored)["rows"]
        ]
    }


def row_of(name: str, table: str, **keys: str) -> dict[str, Any]:
    """The one row with these values."""
    (match,) = (
        row
        for row in stored_table(name, table)["rows"]
        if all(row[key] == value for key, value in keys.items())
    )
    return dict(match)


def rows_of(name: str, table: str, **keys: str) -> list[dict[str, Any]]:
    """The rows with these values."""
    return [
        row
        for row in stored_table(name, table)["rows"]
        if all(row[key] == value for key, value in keys.items())
    ]


def shown_tables(name: str) -> list[Table]:
    """An experiment's tables that a terminal shows too."""
    tables = [table_from(stored_table(name, table)) for table in manifest_of(name)["tables"]]
    return [table for table in tables if table.printed]


def mean_text(row: dict[str, Any]) -> str:
    """`mean [low, high]`."""
    return interval_text(row["mean"], row["low"], row["high"], STATISTICS[row["statistic"]].scale)


def difference_text(row: dict[str, Any]) -> str:
    """`+difference [low, high] (p ..)`."""
    ends = row["difference"], row["difference_low"], row["difference_high"]
    scale = STATISTICS[row["statistic"]].scale
    return f"{interval_text(*ends, scale, sign=True)} (p {p_text(row['p'])})"


def is_there(name: str) -> bool:
    """Whether results of an experiment are committed."""
    return (RESULTS / name / "manifest.json").exists()


def scale_text(name: str) -> str:
    """Populations, agents and machine of an experiment."""
    manifest = manifest_of(name)
    parts = []
    for where, account in manifest["designs"].items():
        agents, years, days = (_range_text(account[key]) for key in ("agents", "years", "days"))
        llm = (
            f", {account['answers']:,} answers by {', '.join(account['models'])}"
            if account["answers"]
            else ""
        )
        parts.append(
            f"{where}: {plural(account['populations'], 'population')}, "
            f"{agents} agents, "
            f"{years} years of {days} days{llm}"
        )
    hardware = manifest["hardware"]
    return f"{'; '.join(parts)}. {hardware['cpu']}, {hardware['visible_cores']} cores"


def _range_text(ends: Sequence[int]) -> str:
    low, high = ends
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def take_over(out: Path) -> str:
    """Copy a finished experiment's tables and figures into experiments/results; return its name.

    Raises UserError where that fails, and then leaves the earlier results as they are.
    """
    try:
        manifest = json.loads((out / "manifest.json").read_text())
    except (OSError, ValueError):
        manifest = {}
    if manifest.get("kind") != "experiment" or manifest.get("status") != "complete":
        raise UserError(f"{out}: holds no finished experiment")
    name = str(manifest["name"])
    folder, fresh = RESULTS / name, RESULTS / f".{name}"
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        for part in ("tables", "figures"):
            (fresh / part).mkdir(parents=True)
        for table in manifest["tables"]:
            shutil.copy(out / "tables" / f"{table}.json", fresh / "tables")
        for figure in manifest["figures"]:
            shutil.copy(out / "figures" / figure, fresh / "figures")
        (fresh / "manifest.json").write_text(
            json_text({key: manifest[key] for key in _KEPT}, indent=1) + "\n"
        )
    except OSError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise UserError(f"{error.filename}: {error.strerror}") from None
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)
    read_json.cache_clear()
    return name
