"""The local model store: pull a model once, name it afterwards, know which weights answer."""

from llm.engines.models.identity import fingerprint, template_fingerprint
from llm.engines.models.known import KNOWN, KnownModel, ModelNotFound
from llm.engines.models.pull import pull
from llm.engines.models.resolve import resolve
from llm.engines.models.store import InstalledModel, installed, store

__all__ = [
    "KNOWN",
    "InstalledModel",
    "KnownModel",
    "ModelNotFound",
    "fingerprint",
    "installed",
    "pull",
    "resolve",
    "store",
    "template_fingerprint",
]
