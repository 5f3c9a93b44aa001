"""Which names and texts may be secrets: what must reach no file and no message."""

import re
from collections.abc import Collection

# Names in one piece: no words can be told apart in them.
_RUN_TOGETHER = re.compile(
    r"apikey|accesskey|accesstoken|authtoken|authoriz|secret|passw|passphrase|passcode|credential|"
    r"cookie|signature|privatekey"
)
_WORDS = frozenset({"auth", "oauth", "authentication", "bearer", "jwt"})
_LAST = frozenset({"pass", "pwd"})
_WHOLE = frozenset({"code", "sig"})  # in the addresses of some servers
# What comes before `key` or `token` where it is no secret, and what comes behind it.
_KEYS_OF_THINGS = frozenset({"cache", "idempotency", "public", "websocket", "sort", "partition"})
_MODEL_TOKENS = frozenset(
    {"bos", "cls", "end", "eos", "image", "mask", "max", "min", "next", "pad", "per", "sep"}
    | {"special", "start", "stop", "unk", "new", "prompt", "completion", "output", "input", "total"}
    | {"reasoning", "thinking", "budget", "bad", "banned", "allowed", "suppress", "prefix", "num"}
    | {"keep", "return", "generated", "cached", "content", "word", "forced"}
)
_ABOUT_TOKENS = frozenset(
    {"limit", "limits", "count", "counts", "budget", "usage", "healing", "ids", "per", "length"}
    | {"penalty", "to", "probs", "logprobs", "bias", "rate", "type", "format", "spacing"}
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

    A name tells by its words (`hf_token`, `apiKey`), and those beside key or token: `max_tokens`,
    `X-Request-Token-Limit` and `Idempotency-Key` are no secrets.
    """
    words = [w.lower() for w in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]
    together = "".join(words)
    if _RUN_TOGETHER.search(together) or together in _WHOLE or not _WORDS.isdisjoint(words):
        return True
    before, after = ["", *words], [*words[1:], ""]
    for place, word in enumerate(words):
        if word.endswith(("key", "keys")) and before[place] not in _KEYS_OF_THINGS:
            return True
        is_token = word.endswith(("token", "tokens")) and before[place] not in _MODEL_TOKENS
        if is_token and after[place] not in _ABOUT_TOKENS:
            return True
    return bool(words) and words[-1] in _LAST


def secret_name_in(text: str, others: Collection[str] = ()) -> str | None:
    """A name that has a value after it, behind : or =, and is that of a secret or one of `others`.

    None where there is none.
    """
    names = re.findall(r"(?<![\w-])([\w-]+)['\"]?\s*[:=]", text)
    return next((name for name in names if name in others or names_secret(name)), None)


def looks_secret(text: str) -> bool:
    """Whether a text has the form of a key, such as sk-.. or Bearer .."""
    return _SECRET_TEXT.search(text) is not None


def replaces_key(name: str) -> bool:
    """Whether a header or a part of the query says who asks, so that the key need not."""
    return _IN_PLACE_OF_KEY.fullmatch(name.replace("_", "-")) is not None
