"""Hashes that say which weights and which chat template answer."""

import hashlib
import json
from pathlib import Path

from llm.engines.models.hub import cached_snapshot
from llm.engines.models.known import ModelNotFound
from llm.engines.models.store import file_sha256, read_card

_WEIGHTS = ("*.safetensors", "*.bin", "*.gguf")


def fingerprint(model: Path | str) -> str:
    """A hash of a model's weights, or the revision of a Hugging Face id in the cache.

    The hash is SHA-256 over the weights, configuration and tokenizer of a folder.

    model: what `resolve` returned. The file hashes of a pulled model are taken from its card while
    sizes and times agree.

    Raises:
        ModelNotFound: a Hugging Face id that has not been downloaded, or a folder without weights.
    """
    if isinstance(model, str):
        return cached_snapshot(model).name
    weights = sorted(path for pattern in _WEIGHTS for path in model.glob(pattern))
    if not weights:
        raise ModelNotFound(
            f"llm.model: the folder {str(model)!r} has no weights ({', '.join(_WEIGHTS)})"
        )
    card = read_card(model)
    known = card["files"] if card is not None else {}
    digest = hashlib.sha256(_canonical_config(model / "config.json"))
    for path in [*weights, model / "tokenizer.json", model / "tokenizer.model"]:
        if path.is_file():
            digest.update(f"{path.name}:{file_sha256(path, known.get(path.name))}\n".encode())
    return digest.hexdigest()


def template_fingerprint(model: Path | str) -> str:
    """SHA-256 of the chat template, which turns messages into the prompt that the model reads.

    Raises:
        ModelNotFound: the model has no chat template, so it is not a chat model.
    """
    folder = cached_snapshot(model) if isinstance(model, str) else model
    jinja = folder / "chat_template.jinja"
    if jinja.is_file():
        return hashlib.sha256(jinja.read_bytes()).hexdigest()
    settings = folder / "tokenizer_config.json"
    template = (
        json.loads(settings.read_text(encoding="utf-8")).get("chat_template")
        if settings.is_file()
        else None
    )
    if template is None:
        raise ModelNotFound(
            f"llm.model: {str(model)!r} has no chat template; use an instruct model"
        )
    text = template if isinstance(template, str) else json.dumps(template, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical_config(path: Path) -> bytes:
    # The version of the library that wrote the file does not matter for the answers.
    config = {
        key: value
        for key, value in json.loads(path.read_text(encoding="utf-8")).items()
        if key != "transformers_version"
    }
    return json.dumps(config, sort_keys=True).encode()
