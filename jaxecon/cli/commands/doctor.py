"""`jaxecon doctor`. Imports what takes long (JAX, `llm`) when it is called."""

import importlib.util
from typing import Annotated, Any

import typer

from jaxecon.cli.output.printable import say_line
from jaxecon.core.errors import UserError
from jaxecon.core.json_text import json_text

_VLLM_HELP = "install the extra `vllm` on a GPU, or what docs/install.md says on a CPU"


def doctor(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """Print versions, devices and models, and what is missing."""
    report = _examine_machine()
    if as_json:
        print(json_text(report))
    else:
        _print_report(report)


def _examine_machine() -> dict[str, Any]:
    """Versions, devices, engines and models of this machine, and what is missing.

    `missing` says for each purpose what to do for it.
    """
    from jaxecon.simulation.language import model_store
    from jaxecon.storage.provenance import environment

    here = environment()
    missing: dict[str, str] = {}
    engines = {"vllm": _is_installed("vllm")}
    if not engines["vllm"]:
        missing["language-model workers and planners"] = _VLLM_HELP
    models: list[dict[str, str]] = []
    try:
        store = model_store()
    except UserError as error:
        missing["language models"] = str(error)
    else:
        models = [{"name": m.name, "path": str(m.path)} for m in store.installed()]
        if not models:
            missing["the default model"] = "jaxecon models pull smollm2"
        packages = ("torch", "transformers", "gguf", "accelerate")
        needed = [package for package in packages if not _is_installed(package)]
        if needed:
            missing["jaxecon models pull"] = f"install {', '.join(needed)} (the extra `models`)"
    accelerators = ("gpu", "cuda", "rocm", "tpu")
    if not any(device.startswith(accelerators) for device in here["hardware"]["devices"]):
        missing["running the economy on a GPU"] = (
            "install the extra `cuda` on a machine with one; the CPU is used"
        )
    return {**here, "engines": engines, "models": models, "missing": missing}


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _print_report(report: dict[str, Any]) -> None:
    """Print what `_examine_machine` returns, a line for each subject."""
    hardware = report["hardware"]
    versions = (f"{name} {version}" for name, version in report["versions"].items())
    engines = (
        f"{name}: {'installed' if here else 'not installed'}"
        for name, here in report["engines"].items()
    )
    models = (f"{model['name']} ({model['path']})" for model in report["models"])
    say_line(f"versions   {', '.join(versions)}")
    say_line(
        f"hardware   {hardware['cpu']}, {hardware['visible_cores']} cores; JAX devices: "
        f"{', '.join(hardware['devices'])}"
    )
    say_line(f"engines    {', '.join(engines)}")
    say_line(f"models     {', '.join(models) or 'none'}")
    for purpose, remedy in report["missing"].items():
        say_line(f"missing    for {purpose}: {remedy}")
