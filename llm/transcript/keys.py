"""The key under which a request is stored: a hash of its content and its draw."""

import hashlib
import json
from functools import lru_cache
from typing import Any

from llm.messages import Request, Sampling


def request_key(identity: dict[str, str], request: Request) -> str:
    """The key of a stored response: SHA-256 over the request's content and draw.

    The content is engine identity, sampling, messages, schema and the hash of the template.
    Timings, cached tokens and transport retries do not count. The hashed text is one JSON object
    with sorted keys, put together from parts, since most of them are the same for thousands of
    requests.
    """
    d = request.draw
    draw = (
        f'{{"agent":{d.agent},"attempt":{d.attempt},"cohort":{_quoted(d.cohort)},'
        f'"day":{d.day},"kind":{_quoted(d.kind)},"seed":{d.seed},"year":{d.year}}}'
    )
    messages = ",".join(f"[{_quoted(m.role)},{_quoted(m.content)}]" for m in request.messages)
    text = (
        f'{{"draw":{draw},"identity":{_identity_text(tuple(identity.items()))},'
        f'"messages":[{messages}],"sampling":{_sampling_text(request.sampling)},'
        f'"schema":{_schema_text(request.schema)},"template":"{request.template}"}}'
    )
    return hashlib.sha256(text.encode()).hexdigest()


_quoted = json.encoder.encode_basestring  # a JSON string that keeps non-ASCII text


def compact_json(value: object) -> str:
    """JSON with sorted keys and no white space: equal values have equal texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@lru_cache(maxsize=256)
def _identity_text(identity: tuple[tuple[str, str], ...]) -> str:
    return compact_json(dict(identity))


@lru_cache(maxsize=256)
def _sampling_text(sampling: Sampling) -> str:
    return compact_json(vars(sampling))


# by id; the schema itself is kept too, so that no other object can get its id
_SCHEMAS: dict[int, tuple[object, str]] = {}


def _schema_text(schema: dict[str, Any] | None) -> str:
    """The JSON of a schema, cached by id: schemas are shared objects that nobody changes."""
    known = _SCHEMAS.get(id(schema))
    if known is None:
        if len(_SCHEMAS) >= 256:
            _SCHEMAS.clear()
        known = _SCHEMAS[id(schema)] = schema, compact_json(schema)
    return known[1]
