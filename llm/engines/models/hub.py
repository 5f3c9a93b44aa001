"""Models of the Hugging Face hub: what its cache holds, and whether the hub has a model."""

import importlib.util
import os
from pathlib import Path

from jaxecon.core.errors import first_line
from llm.engines.models.known import ModelNotFound


def hub_snapshot(model: str) -> Path | None:
    if importlib.util.find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(model, "config.json")
    return Path(config).parent if isinstance(config, str) else None


def cached_snapshot(model: str) -> Path:
    folder = hub_snapshot(model)
    if folder is None:
        raise ModelNotFound(
            f"llm.model: {model!r} is not in the Hugging Face cache; run once with a network"
        )
    return folder


def check_on_hub(model: str) -> None:
    """Raise ModelNotFound unless the hub can be reached and has the model.

    Call it before an engine is started for the model.
    """
    if _hub_is_offline():
        raise ModelNotFound(
            f"llm.model: {model!r} is not in the Hugging Face cache and HF_HUB_OFFLINE is set; "
            "unset it to download"
        )
    if importlib.util.find_spec("huggingface_hub") is None:
        raise ModelNotFound(
            f"llm.model: {model!r} needs the package huggingface_hub; see docs/install.md"
        )
    from huggingface_hub import HfApi

    try:
        HfApi().model_info(model, timeout=10)
    # errors of the hub's client, of its HTTP library or of the network all mean the same here
    except Exception as error:
        raise ModelNotFound(
            f"llm.model: {model!r} is neither in the Hugging Face cache nor available from the "
            f"hub ({first_line(error)})"
        ) from error


def _hub_is_offline() -> bool:
    return any(
        os.environ.get(name, "").upper() in {"1", "ON", "YES", "TRUE"}
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    )
