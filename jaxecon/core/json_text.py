"""JSON as the standard has it: NaN and infinities, which it lacks, become null."""

import json
import math
from collections.abc import Mapping
from typing import Any


def json_text(content: Any, *, indent: int | None = None) -> str:
    """Return the content as JSON, without a line end.

    All JSON that commands print and folders hold is made here, so that any reader can read it.

    Args:
        content: mappings, lists and plain values; a value of another kind is written as its text.
        indent: spaces of each level; all on one line by default.

    Returns:
        Text in which floats that are not finite are null.
    """
    return json.dumps(plain(content), indent=indent, default=str, allow_nan=False)


def plain(content: Any) -> Any:
    """The tree with None in place of NaN and infinities."""
    if isinstance(content, Mapping):
        return {key: plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [plain(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
