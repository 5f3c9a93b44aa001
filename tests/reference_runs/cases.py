"""Ten small runs of everything a run can be: what `test_reference_runs.py` computes and compares.

Each case is a function from an empty folder to the folders that it leaves, by name. What they
contain is on record in `golden/`, so that no change of the code's form can change what it computes
without being seen. `python -m reference_runs.cases FOLDER` runs all of them, in a process of their
own and compiled as users' programs are (tests/conftest.py compiles the tests' own with less
effort).
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

import jaxecon as je

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TRANSCRIPT = HERE / "smollm2.sqlite"  # written by record_transcript.py

RULES = ("adaptive", "adversarial", "altruistic", "fixed", "habit", "quantal", "rational")

MECHANICAL: dict[str, Any] = {
    "seed": 1,
    "years": 3,
    "year": {"days": 6},
    "population": {"mechanical": 40, "llm": 0},
    "schedule": {"brackets": "three"},
    "planner": {"kind": "in_context", "compared_with": ["us_federal"]},
    "checkpoint": {"every_days": 4, "every_minutes": None, "keep_last": 100},
}
ALL_RULES = {
    **MECHANICAL,
    "population": {
        "cohorts": [{"name": f"the_{rule}", "rule": rule, "size": 12} for rule in RULES]
    },
    "satisfaction": {"judged": True, "every_days": 3},
}
HYBRID = {
    **MECHANICAL,
    "population": {"mechanical": 12, "llm": 4},
    "planner": {"kind": "llm", "compared_with": ["us_federal"]},
    "llm": {"engine": "simulated"},
    "satisfaction": {"judged": True, "every_days": 3},
}
SMOLLM2 = {
    **MECHANICAL,
    "years": 2,
    "year": {"days": 3},
    "population": {"mechanical": 12, "llm": 3},
    "planner": {"kind": "llm", "compared_with": ["us_federal"]},
    "llm": {"engine": "vllm", "model": "smollm2"},
    "satisfaction": {"judged": True},
}
ELECTED = {
    **MECHANICAL,
    "population": {"cohorts": [{"name": "people", "rule": "rational", "size": 12}]},
    "planner": {"kind": "elected", "compared_with": []},
    "schedule": {"brackets": "flat", "rates": 0.2},
    "elections": {"candidates": 4},
}
RETENTION = {**HYBRID, "elections": {"retention": True}}
DYNAMICS = {
    **MECHANICAL,
    "dynamics": {
        "skills": {"enabled": True, "working_years": 4},
        "hours_inertia": 0.2,
        "saving": {"enabled": True, "tax": 0.3},
    },
}
DEVICES = {**MECHANICAL, "devices": 2}
SWEEP = {
    "run": {**MECHANICAL, "years": 2, "record": {"agents": "none"}},
    "grid": {
        "preferences.disutility_exponent": [3.0, 3.5],
        "planner.memory.exploration": [True, False],
    },
    "seeds": 2,
}


def _one(config: Mapping[str, Any]) -> Callable[[Path], dict[str, Path]]:
    return lambda folder: {"run": je.run(dict(config), out=folder / "run").path}


def _replayed(folder: Path) -> dict[str, Path]:
    llm = {"engine": "replay", "transcript": str(TRANSCRIPT)}
    return {"run": je.run({**SMOLLM2, "llm": llm}, out=folder / "run").path}


def _two_devices(folder: Path) -> dict[str, Path]:
    """In a process of its own, since a process's number of devices is set before it starts."""
    (folder / "config.yaml").write_text(yaml.safe_dump(DEVICES))
    command = [
        sys.executable,
        "-m",
        "jaxecon",
        "run",
        str(folder / "config.yaml"),
        "--out",
        str(folder / "run"),
    ]
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        command, env={**os.environ, **flags}, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return {"run": folder / "run"}


def _sweep(folder: Path) -> dict[str, Path]:
    return {"sweep": je.sweep(SWEEP, out=folder / "sweep").path}


def _resumed(folder: Path) -> dict[str, Path]:
    """A copy of a hybrid run, taken in the middle of its second year, goes on."""
    copy = folder / "resumed"

    class Copying:
        def on_days(self, year: int, days_done: int, day: Any, usage: Any) -> None:
            if (year, days_done) == (1, 5):
                with contextlib.suppress(
                    shutil.Error
                ):  # a thread may still be writing a checkpoint
                    shutil.copytree(folder / "whole", copy)

        def on_year(self, row: Any, usage: Any) -> None:
            pass

        def on_diagnostic(self, found: Any) -> None:
            pass

    je.run(HYBRID, out=folder / "whole", listener=Copying())
    return {"whole": folder / "whole", "resumed": je.resume(copy).path}


def _branched(folder: Path) -> dict[str, Path]:
    whole = je.run({**HYBRID, "years": 2}, out=folder / "whole").path
    futures = je.branch(
        whole, year=1, out=folder / "futures", overrides=["years=3", "schedule.rates=0.3"], seeds=2
    )
    return {future.path.name: future.path for future in futures}


CASES: dict[str, Callable[[Path], dict[str, Path]]] = {
    "mechanical": _one(MECHANICAL),
    "all_rules": _one(ALL_RULES),
    "hybrid": _one(HYBRID),
    "replayed": _replayed,
    "elected": _one(ELECTED),
    "retention": _one(RETENTION),
    "dynamics": _one(DYNAMICS),
    "two_devices": _two_devices,
    "sweep": _sweep,
    "resumed": _resumed,
    "branched": _branched,
}


def main(folder: Path) -> None:
    """Runs every case and writes FOLDER/CASE.json: its folders by name, or what went wrong."""
    for name, case in CASES.items():
        (folder / name).mkdir()
        try:
            left: Any = {key: str(path) for key, path in case(folder / name).items()}
        except Exception:
            left = traceback.format_exc()
        (folder / f"{name}.json").write_text(json.dumps(left))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
