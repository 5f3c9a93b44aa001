"""A key that a server echoes in any form reaches no file, and no answer changes for that."""

import base64
import html
import json
import re
from urllib.parse import quote

import pytest
from support.openai_server import ask

from jaxecon.config.read import load_config
from jaxecon.core.errors import UserError
from llm.engines.openai.completion import completion_of
from llm.engines.openai.redaction import Redaction

KEYS = [
    *("token-abc123", "p4ss", "hunter2", "s.e+c/r=t", "$ecret(1)", "abcd1234"),
    *("secretkey", "12345678", "1234567890", "q" * 15),
    *("sk-test-0123456789abcdefghijklmnop", "AIzaSyD-9tSrke72PouQMnMX", "qZ" * 300, "q" * 16),
]
# Keys that may be a part of an answer, as one that a user mistook for a key is.
WORDS = [
    *("2", "40", "US", "EU", "y", "abc", "a b", "hours", "answer", "changes", "true", "-40", "10%"),
    *("letmein", "1234567", "h", "urs", "B2"),
]
DUMMIES = ["none", "None", "EMPTY", "dummy", "ollama", "lm-studio", "sk-no-key-required", "x", "-"]
ANSWER = '{"hours": 40}'


def forms(key: str) -> list[str]:
    """What a server may make of a key."""
    coded = [
        quote(key, safe=""),
        "".join(f"%{byte:02X}" for byte in key.encode()),
        json.dumps(key),
        json.dumps({"authorization": f"Bearer {key}"}),
        "".join(f"\\u{ord(c):04x}" for c in key),
        json.dumps(json.dumps(key)),
        json.dumps(json.dumps({"key": key})).replace("/", "\\/"),
        quote(quote(key, safe="")),
        "".join(f"&#x{ord(c):x};" for c in key),
        "".join(f"&#{ord(c)};" if not c.isalnum() else c for c in key),
    ]
    coded.append(base64.b64encode(key.encode()).decode())
    if len(key) >= 8:
        for before in ("", "u:", "Bearer ", "user:"):
            text = (before + key).encode()
            coded += [base64.b64encode(text).decode(), base64.urlsafe_b64encode(text).decode()]
        coded += [key[:3] + sign + key[3:] for sign in "\u200b\u034f\ufe0f\u202c\u2066\0"]
    return [key, f"Bearer {key}", f"key={key}&", f"'{key}'", f"<{key}>", f"({key})", *coded]


def holds(text: str, key: str) -> bool:
    """Whether the key can be read from the text."""
    for _ in range(2):
        text = re.sub(r"%([0-9a-fA-F]{2})", lambda m: chr(int(m[1], 16)), text)
        text = re.sub(r"\\u([0-9a-f]{4})", lambda m: chr(int(m[1], 16)), text)
    plain = re.sub(
        "[\u200b\u034f\ufe0f\u202c\u2066\0]", "", html.unescape(text).replace("\\/", "/")
    )
    decoded = ""
    for piece in re.findall(r"[A-Za-z0-9+/_-]{4,}", text):
        for start in range(4):
            part = piece[start:].translate({ord("-"): "+", ord("_"): "/"})
            decoded += base64.b64decode(part[: len(part) // 4 * 4]).decode("latin-1") + "\n"
    return key in plain or key in decoded


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key[:20])
def test_an_echoed_key_is_taken_out(key: str) -> None:
    redaction = Redaction(key)
    for form in forms(key):
        for text in (form, f"your key is {form} {ANSWER}", f"{ANSWER}\n{form}"):
            assert not holds(redaction.reply(text), key), text
            assert not holds(redaction.line(text), key), text
        assert ANSWER in redaction.reply(f"your key is {form} {ANSWER}")
    assert key not in repr(redaction)


@pytest.mark.parametrize("key", DUMMIES)
def test_a_dummy_is_no_secret(key: str) -> None:
    text = f'{{"hours": {key}}} {key} x {ANSWER}'
    assert Redaction(key).reply(text) == text
    if not key.startswith("sk-"):  # whatever looks like a key is taken out of lines
        assert Redaction(key).line(text) == text


@pytest.mark.parametrize("key", WORDS)
def test_a_key_that_may_be_a_part_of_an_answer_leaves_answers_as_they_are(key: str) -> None:
    redaction = Redaction(key)
    for text in (
        ANSWER,
        f'{{"choice": "{key}", "why": "it is {key}, as before: {key}"}}',
        f"{{'{key}': {key}}}",
        f"{key}",
        f"I think {key} is best. {ANSWER}",
    ):
        assert redaction.reply(text) == text
    assert redaction.reply(f"you sent Bearer {key}") == "you sent Bearer [key]"
    shown = redaction.line(f"bad key {key}, sorry")
    assert shown == "bad key [key], sorry"


def test_why_an_answer_ended_is_read_before_a_key_is_taken_out() -> None:
    for reason, read in (("length", "length"), ("MAX_TOKENS", "length"), ("content_filter", None)):
        reply = {"choices": [{"message": {"content": ANSWER}, "finish_reason": reason}]}
        got = completion_of(reply, ask("Hours?"), 0.1, Redaction(reason), lambda words: None)
        assert got.text == ANSWER
        assert got.finish_reason == read if read else got.error is not None


def test_several_secrets() -> None:
    redaction = Redaction("token-abc123", ("token-abc", "other-secret-of-a-header"))
    assert redaction.line("token-abc123 token-abc other-secret-of-a-header") == "[key] [key] [key]"


def test_lines_hold_no_control_characters() -> None:
    sign = "\x1b[2J\x1b]0;t\x07\x9b31m\u202egnirts\u2066\r\b\0\u2028\ufeff\ue000\ud800"
    for words in (sign, f"{sign} bad", {"error": sign}, [sign], f"a\n{sign}"):
        line = Redaction("").line(words)
        assert line.isprintable()
        assert len(line.splitlines()) == 1
    reply = {"choices": [{"message": {"content": ANSWER}, "finish_reason": sign}]}
    got = completion_of(reply, ask("Hours?"), 0.1, Redaction(""), lambda words: None)
    assert got.finish_reason.isprintable()
    assert "\\x1b" in got.finish_reason
    assert Redaction("").line("Zoë, 漢字 🙂") == "Zoë, 漢字 🙂"


@pytest.mark.parametrize("engine", ["simulated", "openai", "vllm"])
@pytest.mark.parametrize(
    "address",
    [
        "http://user:SECRET3@host/v1",
        "http://SECRET3@host/v1",
        "http://host/v1?key=SECRET3",
        "http://host/v1?api-key=SECRET3&a=b",
        "http://host/v1#SECRET3",
        "user:SECRET3@host/v1",
        "//user:SECRET3@host/v1",
        "http:user:SECRET3@host",
    ],
)
def test_an_address_with_a_secret_is_refused_at_once(address: str, engine: str) -> None:
    for where, override in (
        ("llm", f"llm.base_url={address!r}"),
        ("llm.others.big", f"llm.others={{big: {{base_url: {address!r}}}}}"),
    ):
        with pytest.raises(UserError, match=rf"^{where}\.base_url: .* plain address") as refused:
            load_config(None, [f"llm.engine={engine}", "llm.model=m", override])
        assert "SECRET3" not in str(refused.value)
        assert "\n" not in str(refused.value)
