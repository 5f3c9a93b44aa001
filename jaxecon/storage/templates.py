"""A run's own copy of the templates that a user wrote for it."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from jaxecon.storage.paths import PROMPTS, TEMPLATE_ENDING


def write_templates(run: Path, templates: Mapping[str, str]) -> None:
    """Make a run's copy of templates what is given, without a moment in which it is half of it.

    Args:
        run: the run's folder.
        templates: texts by name, without ending; none removes a copy that is there.

    Raises:
        OSError: the copy cannot be written.
    """
    kept, new = run / PROMPTS, run / f".{PROMPTS}.new"
    if templates == {path.stem: path.read_text(encoding="utf-8") for path in kept.glob("*")}:
        return
    shutil.rmtree(new, ignore_errors=True)
    if templates:
        new.mkdir()
        for name, text in templates.items():
            (new / f"{name}{TEMPLATE_ENDING}").write_text(text, encoding="utf-8")
    # after a crash between these two the run is resumed from the user's folder, if its words still
    # have the hash that the manifest holds
    shutil.rmtree(kept, ignore_errors=True)
    if templates:
        os.replace(new, kept)
