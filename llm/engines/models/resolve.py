"""Finds what an engine loads for the model that a configuration names."""

import difflib
import os
import re
from pathlib import Path

from jaxecon.core.text import shortened
from llm.engines.models.hub import check_on_hub, hub_snapshot
from llm.engines.models.known import KNOWN, ModelNotFound
from llm.engines.models.store import read_card, store

_HUB_ID = re.compile(r"(?=.{3,96}$)[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")

_MAX_SHOWN = 200  # characters of an unknown model


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
    folder = Path(os.path.expanduser(model))  # unlike Path's own, also for users that are unknown
    if os.path.isdir(folder):  # unlike Path's own, also for names that are too long
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
    shown = repr(shortened(model, _MAX_SHOWN))
    if "/" in model or model.startswith((".", "~")):
        raise ModelNotFound(f"llm.model: there is no folder {shown}")
    near = difflib.get_close_matches(model.lower(), KNOWN, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ModelNotFound(
        f"llm.model: {shown} is not known; {hint}known: {', '.join(sorted(KNOWN))}, a folder, "
        "or a Hugging Face id"
    )
