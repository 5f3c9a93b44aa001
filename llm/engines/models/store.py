"""The folder of pulled models, and the card of each: where it came from, and its files' hashes."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from platformdirs import user_cache_path

from jaxecon.core.files import sha256_of
from llm.engines.models.known import KNOWN, KnownModel

_CARD = "jaxecon.json"


@dataclass(frozen=True)
class InstalledModel:
    """A model in the store; `size` in bytes."""

    name: str
    path: Path
    source: str
    license: str
    size: int


class FileEntry(TypedDict):
    sha256: str
    size: int
    mtime_ns: int


class Card(TypedDict):
    name: str
    source: str
    license: str
    wheel_sha256: str
    files: dict[str, FileEntry]


def store() -> Path:
    """The folder of pulled models: JAXECON_MODELS, or `models` in the user's cache folder."""
    override = os.environ.get("JAXECON_MODELS")
    return Path(override).expanduser() if override else user_cache_path("jaxecon") / "models"


def installed() -> list[InstalledModel]:
    """The models in the store, by name."""
    models = []
    for name in sorted(KNOWN):
        folder = store() / name
        card = read_card(folder)
        if card is not None:
            size = sum(entry["size"] for entry in card["files"].values())
            models.append(InstalledModel(name, folder, card["source"], card["license"], size))
    return models


def read_card(folder: Path) -> Card | None:
    path = folder / _CARD
    if not path.is_file():
        return None
    card: Card = json.loads(path.read_text(encoding="utf-8"))
    return card


def write_card(known: KnownModel, folder: Path) -> None:
    files: dict[str, FileEntry] = {}
    for path in sorted(folder.iterdir()):
        stat = path.stat()
        files[path.name] = {
            "sha256": file_sha256(path, None),
            "size": stat.st_size,
            "mtime_ns": stat.st_mtime_ns,
        }
    card: Card = {
        "name": known.name,
        "source": f"{known.requirement} {known.gguf}",
        "license": known.license,
        "wheel_sha256": known.wheel_sha256,
        "files": files,
    }
    (folder / _CARD).write_text(json.dumps(card, indent=1), encoding="utf-8")


def file_sha256(path: Path, entry: FileEntry | None) -> str:
    stat = path.stat()
    if entry is not None and (entry["size"], entry["mtime_ns"]) == (stat.st_size, stat.st_mtime_ns):
        return entry["sha256"]
    return sha256_of(path)
