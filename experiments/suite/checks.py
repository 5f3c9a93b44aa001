"""Checks of an experiment before anything is computed; each raises UserError."""

import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from experiments.suite.registry import Designs
from experiments.suite.study import EXPERIMENT
from jaxecon.config.read import load_config
from jaxecon.core.errors import UserError
from jaxecon.core.files import write_atomically
from jaxecon.simulation.language import check_engines
from jaxecon.storage.paths import refuse_existing
from jaxecon.storage.portable import is_same_yaml, portable_text
from jaxecon.sweeps.design import read
from jaxecon.sweeps.points import Points


def refuse_varied_or_fixed(
    override: str, design: Mapping[str, Any], reserved: Iterable[str]
) -> None:
    """Raise UserError for an override of a setting that an experiment varies or fixes.

    Its arms would ignore it, or would no longer be what their names say.
    """
    name = override.partition("=")[0].strip()
    varied = {
        key for point in [design.get("grid") or {}, *(design.get("list") or [])] for key in point
    }
    for keys, verb in ((varied, "varies"), (reserved, "fixes")):
        if any(
            name == key or key.startswith(f"{name}.") or name.startswith(f"{key}.") for key in keys
        ):
            raise UserError(
                f"--set {override}: the experiment {verb} it; jaxecon sweep takes a design of "
                "your own"
            )


def check_years(experiment: str, tree: Designs, least: int) -> None:
    """Raise UserError where a mechanical design has fewer years than the experiment needs."""
    for name, design in tree["mechanical"].items():
        years = load_config(design["run"]).years
        if years < least:
            raise UserError(f"years: {years}; at least {least} in {experiment}.mechanical.{name}")


def check_engines_of(experiment: str, tree: Designs) -> None:
    """Raise UserError where a model of a design, or the engine that serves it, is missing."""
    for name, design in tree["llm"].items():
        points = Points(read(design))
        for i in range(len(points)):
            config = points.config(points[i])
            try:
                check_engines(config)
            except UserError as error:
                raise UserError(f"{error} (or --no-llm)") from error
            local = any(serving.engine == "vllm" for serving in config.servings.values())
            if local and importlib.util.find_spec("vllm") is None:
                raise UserError(
                    f"{experiment}.llm.{name}: needs vLLM: pip install 'jaxecon[vllm]', on a CPU "
                    "see docs/install.md; or --no-llm"
                )


def open_folder(out: Path, identity: str) -> None:
    """Make a new folder, or continue in that of the same experiment.

    identity: the content of its experiment.yaml, but for places of this machine. Raises UserError
    where the folder cannot be used.
    """
    known, identity = out / EXPERIMENT, portable_text(identity, out)
    try:
        if known.is_file():
            there = known.read_bytes().decode(errors="replace")
            if not is_same_yaml(there, identity, out):  # as earlier versions wrote it
                raise UserError(
                    f"--out: {out}: holds another experiment, or another size of it; give a new "
                    "folder"
                )
            return
        refuse_existing(out)
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(known, identity.encode())
    except OSError as error:
        raise UserError(f"--out: {out}: cannot be written ({error.strerror})") from error
