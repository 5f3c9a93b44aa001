"""Ten reference runs stay what they were, to the last bit on a machine whose bits are on record.

`golden/CASE.json` holds two things. Tables (every year; agents by cohort and year) hold anywhere:
what was decided exactly, numbers to rounding. Digests hold on one kind of machine (processor,
cores, jaxlib, NumPy) and are skipped on others.

A case that differs writes what it found to `golden/CASE.actual.json` (which git ignores). Where the
change is meant, accept it:

    mv tests/reference_runs/golden/CASE.actual.json tests/reference_runs/golden/CASE.json

The same adds the digests of a machine that has none yet: run once with `JAXECON_RECORD_DIGESTS=1`.
"""

import hashlib
import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from reference_runs.cases import CASES, HERE
from support.environment import run_optimised

import jaxecon as je
from jaxecon.core.machine import cpu_features_hash
from llm.transcript.store import Transcript

GOLDEN = HERE / "golden"
TIMINGS = ("seconds",)
DECISIONS = (
    "rate_",
    "leader",
    "llm_",
    "year",
    "cohort",
    "agent",
    "point",
    "seed",
    "status",
    "error",
    "candidate",
    "rank",
    "elected",
)
GAINS = ("gain_", "policy_")


def machine() -> str:
    """What equal bits presuppose."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    libraries = ", ".join(f"{name} {version(name)}" for name in ("jaxlib", "numpy"))
    return f"cpu {cpu_features_hash()}, {cores} cores, {libraries}"


def tables_of(folder: Path) -> dict[str, pa.Table]:
    if (folder / "sweep.yaml").exists():
        sweep = je.Sweep(folder)
        return {"points": sweep.points, "years": sweep.years}
    run = je.load(folder)
    return {
        name: getattr(run, name)
        for name in ("years", "agents", "elections", "ballots")
        if getattr(run, name).num_rows
    }


def digests_of(folder: Path) -> dict[str, str]:
    """Of each table and of the state, by name."""
    found = {name: table_digest(table) for name, table in tables_of(folder).items()}
    if not (folder / "sweep.yaml").exists():
        state = je.digest(folder).state
        assert state is not None
        found["state"] = state
    if (folder / "transcript.sqlite").exists():
        transcript = Transcript(folder / "transcript.sqlite", read_only=True)
        decided = [
            repr((d.year, d.day, d.kind, d.cohort, d.agent, decision))
            for d, decision in sorted_decisions(transcript)
        ]
        prompts = [json.dumps(c["messages"]) for c in transcript.conversations()]
        transcript.close()
        found["decisions"] = hashlib.sha256("\n".join(decided).encode()).hexdigest()
        found["prompts"] = hashlib.sha256("\n".join(prompts).encode()).hexdigest()
    return found


def sorted_decisions(transcript: Transcript) -> list[tuple[Any, Any]]:
    rows = [(row[0], tuple(map(str, row[1:]))) for row in transcript.decisions()]
    return sorted(
        rows, key=lambda row: (row[0].year, row[0].day, row[0].kind, row[0].cohort, row[0].agent)
    )


def table_digest(table: pa.Table) -> str:
    digest = hashlib.sha256()
    for name in sorted(set(table.column_names) - set(TIMINGS)):
        digest.update(f"{name} {table[name].to_pylist()!r}\n".encode())
    return digest.hexdigest()


def shown(folder: Path) -> dict[str, dict[str, list[Any]]]:
    """Tables small enough to read: agents as means by cohort and year, ballots not at all."""
    tables = tables_of(folder)
    tables.pop("ballots", None)
    if "agents" in tables:
        agents = tables["agents"]
        agents = agents.set_column(
            agents.column_names.index("cohort"), "cohort", agents["cohort"].cast(pa.string())
        )
        numbers = [name for name in agents.column_names if name not in ("year", "cohort", "agent")]
        agents = agents.set_column(
            agents.column_names.index("satisfied"),
            "satisfied",
            agents["satisfied"].cast(pa.float64()),
        )
        means = agents.group_by(["year", "cohort"]).aggregate([(name, "mean") for name in numbers])
        tables["agents"] = means.sort_by([("year", "ascending"), ("cohort", "ascending")])
    return {
        name: {
            column: table[column].to_pylist()
            for column in table.column_names
            if column not in TIMINGS
        }
        for name, table in tables.items()
    }


def assert_same_tables(golden: dict[str, Any], actual: dict[str, Any], where: str) -> None:
    assert golden.keys() == actual.keys(), where
    for table, columns in golden.items():
        assert columns.keys() == actual[table].keys(), f"{where} {table}"
        for name, expected in columns.items():
            found = actual[table][name]
            numeric = all(isinstance(x, float) for x in expected)
            if not numeric or name.startswith(DECISIONS):
                assert found == expected, f"{where} {table} {name}"
            else:
                absolute = (
                    2e-6 if name.startswith(GAINS) else 0.0
                )  # differences of welfare over its size
                np.testing.assert_allclose(
                    found, expected, rtol=2e-5, atol=absolute, err_msg=f"{where} {table} {name}"
                )


@pytest.fixture(scope="module")
def all_cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all cases have been run."""
    folder = tmp_path_factory.mktemp("cases")
    run_optimised("reference_runs.cases", folder)
    return folder


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, all_cases: Path) -> tuple[str, dict[str, Any]]:
    """A case's name and what it left."""
    folders = json.loads((all_cases / f"{request.param}.json").read_text())
    assert isinstance(folders, dict), folders
    paths = {name: Path(path) for name, path in folders.items()}
    tables = {name: shown(path) for name, path in paths.items()}
    digests = {name: digests_of(path) for name, path in paths.items()}
    return request.param, {"tables": tables, "digests": digests}


def golden_of(name: str) -> dict[str, Any]:
    path = GOLDEN / f"{name}.json"
    golden: dict[str, Any] = (
        json.loads(path.read_text()) if path.exists() else {"tables": {}, "digests": {}}
    )
    return golden


def write_actual(name: str, found: dict[str, Any], kept: dict[str, Any]) -> None:
    """Beside the golden file. kept: digests of other machines, where the tables are the same."""
    whole = {"tables": found["tables"], "digests": {**kept, machine(): found["digests"]}}
    (GOLDEN / f"{name}.actual.json").write_text(_by_column(whole))


def _by_column(value: Any, depth: int = 0) -> str:
    """JSON with one line for each list or plain value."""
    if not isinstance(value, dict):
        return json.dumps(value)
    inner = ",\n".join(
        f"{' ' * (depth + 1)}{json.dumps(key)}: {_by_column(item, depth + 1)}"
        for key, item in value.items()
    )
    return "{\n" + inner + "\n" + " " * depth + "}" + ("\n" if depth == 0 else "")


def test_tables(case: tuple[str, dict[str, Any]]) -> None:
    name, found = case
    golden = golden_of(name)
    try:
        assert golden["tables"].keys() == found["tables"].keys()
        for folder, tables in golden["tables"].items():
            assert_same_tables(
                tables, json.loads(json.dumps(found["tables"][folder])), f"{name}/{folder}:"
            )
    except AssertionError:
        write_actual(name, found, {})
        raise


def test_digests(case: tuple[str, dict[str, Any]]) -> None:
    name, found = case
    golden = golden_of(name)
    if machine() not in golden["digests"]:
        if os.environ.get("JAXECON_RECORD_DIGESTS"):
            write_actual(name, found, golden["digests"])
        pytest.skip(f"no digests on record for {machine()} (tables are compared)")
    if golden["digests"][machine()] != found["digests"]:
        write_actual(name, found, {})
    assert golden["digests"][machine()] == found["digests"]


@pytest.mark.parametrize("case", ["resumed"], indirect=True)
def test_a_resumed_run_is_the_uninterrupted_one(case: tuple[str, dict[str, Any]]) -> None:
    _, found = case
    assert found["digests"]["resumed"] == found["digests"]["whole"]
