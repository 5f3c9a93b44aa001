"""Which run a file belongs to.

The manifest has an id that is drawn when the run begins. The run's checkpoints, the list of its
files and its transcript have it too, so that another run's are not taken for its own. Runs that
were begun without an id, and their files, have none.
"""

import secrets
from pathlib import Path

from jaxecon.core.errors import DiskError
from jaxecon.core.files import read_json_object
from jaxecon.storage.paths import MANIFEST


def new_run_id() -> str:
    return secrets.token_hex(16)


def run_id_of(run: Path) -> str | None:
    """The id in a run's manifest. Raises DiskError and FileNotFoundError as reading it does."""
    run_id = read_json_object(run / MANIFEST).get("run_id")
    return run_id if isinstance(run_id, str) else None


def check_run_id(run: Path, file: Path, found: object) -> None:
    """Raise DiskError where a file in a run's folder is another run's.

    found: the id in the file; None where it was written without one.
    """
    if found is None or not (run / MANIFEST).exists():
        return
    if found != run_id_of(run):
        raise DiskError(
            f"{file}: another run's (its run_id is not that of {MANIFEST}); put back this run's own"
        )
