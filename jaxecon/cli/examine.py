"""What this machine has, and what is missing for what."""

import importlib.util
from typing import Any

from jaxecon.core.errors import UserError
from jaxecon.simulation.language import model_store
from jaxecon.storage.provenance import environment

_VLLM_HELP = "install the extra `vllm` on a GPU, or what docs/install.md says on a CPU"


def examine() -> dict[str, Any]:
    """Versions, devices, engines and models as a tree of plain values; `missing` maps a purpose to
    what to do.
    """
    found = environment()
    missing: dict[str, str] = {}
    engines = {"vllm": importlib.util.find_spec("vllm") is not None}
    if not engines["vllm"]:
        missing["language-model workers and planners"] = _VLLM_HELP
    models: list[dict[str, str]] = []
    try:
        store = model_store()
    except UserError as error:
        missing["the bridge"] = str(error)
    else:
        models = [{"name": m.name, "path": str(m.path)} for m in store.installed()]
        if not models:
            missing["the default model"] = "jaxecon models pull smollm2"
        unmet = [
            p
            for p in ("torch", "transformers", "gguf", "accelerate")
            if importlib.util.find_spec(p) is None
        ]
        if unmet:
            missing["jaxecon models pull"] = f"install {', '.join(unmet)} (the extra `models`)"
    if not any(
        device.startswith(("gpu", "cuda", "rocm", "tpu")) for device in found["hardware"]["devices"]
    ):
        missing["running the economy on a GPU"] = (
            "install the extra `cuda` on a machine with one; the CPU is used"
        )
    return {**found, "engines": engines, "models": models, "missing": missing}


def print_report(report: dict[str, Any]) -> None:
    print(
        "versions   "
        + ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    )
    hardware = report["hardware"]
    print(
        f"hardware   {hardware['cpu']}, {hardware['visible_cores']} cores; JAX devices: "
        f"{', '.join(hardware['devices'])}"
    )
    print(
        "engines    "
        + ", ".join(
            f"{name}: {'found' if here else 'not found'}"
            for name, here in report["engines"].items()
        )
    )
    print(
        "models     "
        + (", ".join(f"{m['name']} ({m['path']})" for m in report["models"]) or "none")
    )
    for purpose, remedy in report["missing"].items():
        print(f"missing    for {purpose}: {remedy}")
