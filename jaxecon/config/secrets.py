"""Which names and texts may be secrets: what must reach no file and no message."""

import re
from collections.abc import Collection

# Names in one piece: no words can be told apart in them.
_RUN_TOGETHER = re.compile(
    r"apikey|accesskey|accesstoken|authtoken|authoriz|secret|passw|passphrase|credential|cookie|"
    r"signature"
)
_WORDS = frozenset({"auth", "oauth", "authentication", "bearer", "jwt"})
_WHOLE = frozenset({"code", "sig", "pass", "pwd"})  # in the addresses of some servers
# What comes before `key` or `token`, at the end of a name, where it is no secret.
_KEYS_OF_THINGS = frozenset({"cache", "idempotency", "public", "websocket", "sort", "partition"})
_MODEL_TOKENS = frozenset(
    {"bos", "cls", "end", "eos", "image", "mask", "max", "min", "next", "pad", "per", "sep"}
    | {"special", "start", "stop", "unk"}
)

_SECRET_TEXT = re.compile(
    r"\b(sk|pk|gsk|hf|xai|ghp)[-_][\w-]{8}|\b(bearer|basic) [^$\s]", re.IGNORECASE
)

# Headers and parts of the query by which servers recognise who asks.
_IN_PLACE_OF_KEY = re.compile(
    r"authorization|(x-)?(api|auth|access)-?(key|token)|x-auth|x-token|x-goog-api-key|"
    r"x-functions-key|ocp-apim-subscription-key|subscription-key|key|token|code|sig",
    re.IGNORECASE,
)


def names_secret(name: str) -> bool:
    """Whether servers take secrets under such a name, be it of a header, a field or a variable.

    A name tells by its words (`hf_token`, `apiKey`): by the last one if that is key or token, so
    that `max_tokens`, `X-Request-Token-Limit` and `Idempotency-Key` are no secrets.
    """
    words = [w.lower() for w in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]
    together = "".join(words)
    if _RUN_TOGETHER.search(together) or together in _WHOLE or not _WORDS.isdisjoint(words):
        return True
    before, last = ["", *words[:-1]], (words or [""])[-1]
    if last.endswith("key"):
        return before[-1] not in _KEYS_OF_THINGS
    return last.endswith("token") and before[-1] not in _MODEL_TOKENS


def secret_name_in(text: str, others: Collection[str] = ()) -> str | None:
    """A name that has a value after it, behind : or =, and is that of a secret or one of `others`.

    None where there is none.
    """
    names = re.findall(r"([A-Za-z][\w-]*)['\"]?\s*[:=]", text)
    return next((name for name in names if name in others or names_secret(name)), None)


def looks_secret(text: str) -> bool:
    """Whether a text has the form of a key, such as sk-.. or Bearer .."""
    return _SECRET_TEXT.search(text) is not None


def replaces_key(name: str) -> bool:
    """Whether a header or a part of the query says who asks, so that the key need not."""
    return _IN_PLACE_OF_KEY.fullmatch(name.replace("_", "-")) is not None
