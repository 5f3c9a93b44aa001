"""What engines without a model share: answers that depend on the request alone."""

import hashlib
import json
from typing import Any

import numpy as np

from llm.engines.base import estimated_usage
from llm.messages import Completion, Draw, Request


def random_of(draw: Draw) -> np.random.Generator:
    """Random numbers that are the same for a draw on every machine and in every batch."""
    digest = hashlib.sha256(json.dumps(vars(draw), sort_keys=True).encode()).digest()
    return np.random.Generator(np.random.Philox(int.from_bytes(digest[:16])))


def completion_of(request: Request, answer: dict[str, Any]) -> Completion:
    """The answer as JSON, with the tokens that it would have taken."""
    text = json.dumps(answer)
    return Completion(text, usage=estimated_usage(request, text))
