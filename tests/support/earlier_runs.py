"""What an earlier run comes to where programs are compiled as users' are.

`python -m support.earlier_runs replay|resume FOLDER` prints it as JSON, in a process of its own:
the tests' own programs are compiled with less effort (tests/conftest.py), and bits differ.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from support.environment import run_optimised

import jaxecon as je
from jaxecon.core.errors import EngineError
from jaxecon.simulation.changes import inexact
from jaxecon.storage.provenance import environment
from llm.engines.scripted import ScriptedEngine


def outcome(what: str, folder: Path, digest: str) -> dict[str, Any]:
    """Of a process that replays or resumes the run. Skips where another machine's bits differ.

    digest: of the run as it was recorded.
    """
    output = run_optimised("support.earlier_runs", what, folder, digest)
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    if found["elsewhere"] and not found["equal"]:
        pytest.skip(f"recorded on another machine: {'; '.join(found['elsewhere'])}")
    return found


def main(what: str, path: Path, digest: str) -> dict[str, Any]:
    run = je.load(path)
    elsewhere = inexact(run.manifest, environment(run.config))
    try:
        result = {"replay": _replay, "resume": _resume}[what](path, digest)
    except EngineError as error:  # a prompt with other numbers has no answer
        result = {"equal": False, "error": str(error)}
    return {"elsewhere": elsewhere, **result}


def _replay(path: Path, digest: str) -> dict[str, Any]:
    replayed = je.replay(path)
    return {
        "equal": replayed.equal and replayed.replayed.combined == digest,
        "differences": list(map(str, replayed.differences)),
        "notes": replayed.notes,
    }


def _resume(path: Path, digest: str) -> dict[str, Any]:
    run = je.load(path)
    os.environ[run.config.llm.api_key_env or "OPENAI_API_KEY"] = "none"

    class SameModel(ScriptedEngine):
        @property
        def identity(self) -> dict[str, str]:
            identity: dict[str, str] = run.manifest["identities"]["planner"]
            return identity

    def refuse(request: Any) -> Any:
        raise EngineError("everything should have been answered")

    resumed = je.resume(path, force=True, engine=SameModel(refuse))
    (entry,) = resumed.manifest["resumed"]
    return {"equal": je.digest(path).combined == digest, "entry": entry}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]), default=str))
