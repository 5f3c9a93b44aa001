"""A run's own copy of the templates that a user wrote for it."""

import os
import shutil
from pathlib import Path

from jaxecon.core.errors import DiskError
from jaxecon.storage.paths import PROMPTS


def keep_templates(source: str | None, run: Path) -> None:
    """Copy a folder of templates into a run's folder, from which the run is continued.

    Args:
        source: the value of `llm.prompts`; None removes a copy that is there.
        run: the run's folder.

    Raises:
        DiskError: the templates cannot be copied.
    """
    kept, new = run / PROMPTS, run / f".{PROMPTS}.new"
    if source is not None and Path(source).resolve() == kept.resolve():
        return
    try:
        shutil.rmtree(new, ignore_errors=True)
        if source is not None:
            new.mkdir()
            for path in sorted(Path(source).glob("*.jinja")):
                shutil.copyfile(path, new / path.name)
        # a crash between these two leaves a run without a copy, which reads the user's folder
        shutil.rmtree(kept, ignore_errors=True)
        if source is not None:
            os.replace(new, kept)
    except OSError as error:
        raise DiskError(f"llm.prompts: {source}: cannot be copied ({error.strerror})") from error
