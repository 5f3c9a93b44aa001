"""Finds what an engine loads for the model that a configuration names."""

import difflib
import re
from pathlib import Path

from llm.engines.models.hub import check_on_hub, hub_snapshot
from llm.engines.models.known import KNOWN, ModelNotFound
from llm.engines.models.store import read_card, store

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def resolve(model: str) -> Path | str:
    """The folder or Hugging Face id that the engine should load.

    An id is in the cache or can be downloaded.

    Raises:
        ModelNotFound: there is no such model; the message names a command that helps, or the
            nearest known name.
    """
    if model in KNOWN:
        folder = store() / model
        if read_card(folder) is None:
            raise ModelNotFound(
                f"llm.model: {model!r} is not on this machine; run: jaxecon models pull {model}"
            )
        return folder
    folder = Path(model).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ModelNotFound(
                f"llm.model: the folder {model!r} has no config.json, so it is not a Hugging Face "
                "model folder"
            )
        return folder.resolve()
    if _HUB_ID.fullmatch(model):
        if hub_snapshot(model) is None:
            check_on_hub(model)
        return model
    if "/" in model or model.startswith((".", "~")):
        raise ModelNotFound(f"llm.model: there is no folder {model!r}")
    near = difflib.get_close_matches(model.lower(), KNOWN, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ModelNotFound(
        f"llm.model: {model!r} is not known; {hint}known: {', '.join(sorted(KNOWN))}, a folder, "
        "or a Hugging Face id"
    )
