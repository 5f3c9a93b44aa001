"""Keeps the key out of transcripts, messages and logs."""

import base64
import re
from dataclasses import dataclass, field
from functools import cached_property

from jaxecon.core.text import escaped

_MIN_KEY = 16  # characters; a shorter one is taken out only where it stands by itself
_MIN_ENCODED = 8  # likewise, in base64, of which a part of a short key is any text
# What users set where a server takes any key or none.
_DUMMIES = re.compile(
    r"none|null|nil|empty|dummy|fake|test|unused|any|anything|x+|-+|0+|key|api[_-]?key|no[_-]?key|"
    r"not[_-]?(?:needed|used|required)|placeholder|ollama|lm[_-]?studio|llama(?:[._-]?cpp)?|vllm|"
    r"local|localhost|sk-no-key(?:-required)?|sk-(?:none|dummy|test|x+|0+)",
    re.IGNORECASE,
)
# What a part of an answer may be: a number, a short word or two, anything very short. A key of this
# kind is taken out of replies only where it is called one: answers must stay as they were given.
_WORDS = re.compile(r"[\d.,%+-]{1,7}|[^\W\d_]{1,7}(?:[ '-][^\W\d_]{1,7})*|.{1,3}", re.DOTALL)
_CALLED_KEY = r"(?i:(?<=\bbearer )|(?<=\bbasic ))"
_START, _END = r"(?<![^\W_])", r"(?![^\W_])"  # where a word may begin and end
# Signs that may break a key up: they are not seen.
_INVISIBLE = "[\0\u00ad\u034f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe00-\ufe0f\ufeff]*"


@dataclass(frozen=True)
class Redaction:
    """Takes the key out of what a server says.

    key: "" where there is none. others: further secrets, such as those in headers.
    """

    key: str = field(repr=False)
    others: tuple[str, ...] = field(default=(), repr=False)

    def reply(self, text: str) -> str:
        """The reply as the transcript can store it.

        Unpaired surrogates are replaced, and so is the key, should a server echo it.
        """
        text = text.encode(errors="replace").decode()
        return self._in_replies.sub(_masked, text) if self._in_replies else text

    def line(self, words: object) -> str:
        """One short line without the key or anything that looks like one.

        Control characters, and those that change the direction of what is shown, become escapes.
        """
        text = plain_text(words).encode(errors="replace").decode()
        text = self._in_lines.sub("[key]", text) if self._in_lines else text
        text = re.sub(r"(?i)\b(bearer|basic)\s+\S+", r"\1 [key]", text[:100_000])
        text = re.sub(r"\bsk-[\w*-]{4,}", "[key]", text)
        return escaped(" ".join(text.split())[:300]) or type(words).__name__

    @cached_property
    def _in_replies(self) -> re.Pattern[str] | None:
        words = [s for s in self._secrets if len(s) < _MIN_KEY and may_be_words(s)]
        forms = [_form(s) for s in self._secrets if s not in words]
        return _pattern(forms + [_CALLED_KEY + _plain(word) for word in words])

    @cached_property
    def _in_lines(self) -> re.Pattern[str] | None:
        return _pattern([_form(secret) for secret in self._secrets])

    @property
    def _secrets(self) -> list[str]:
        """The longest first, since one may be a part of another."""
        secrets = {s for s in (self.key, *self.others) if s and not _DUMMIES.fullmatch(s)}
        return sorted(secrets, key=len, reverse=True)


def may_be_words(text: str) -> bool:
    """Whether a text may be a part of an answer: a number, short words, anything very short."""
    return _WORDS.fullmatch(text) is not None


def plain_text(words: object) -> str:
    """What somebody sent, as text; the name of its type where it is nested too deeply for one."""
    try:
        return str(words)
    except RecursionError:
        return type(words).__name__


def _masked(match: re.Match[str]) -> str:
    """What takes a key's place in a reply: a short one may be the name of a field of the answer."""
    key, text = match.group(), match.string
    before = text[max(0, match.start() - 20) : match.start()].rstrip(" \t\r\n\"'")
    after = text[match.end() : match.end() + 20].lstrip(" \t\r\n\"'")
    is_name = before.endswith(("{", ",")) and after.startswith(":") and key.isidentifier()
    return key if is_name and len(key) < _MIN_KEY else "[key]"


def _pattern(forms: list[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(forms)) if forms else None


def _form(secret: str) -> str:
    """What matches a secret: plain, URL-encoded, as JSON escapes, in base64."""
    encoded = "|".join(map(re.escape, _in_base64(secret)))
    if len(secret) < _MIN_ENCODED:
        whole = base64.b64encode(secret.encode()).decode()
        encoded = rf"{_START}{re.escape(whole.rstrip('='))}{_END}"
    return f"{_plain(secret)}|{encoded}"


def _plain(secret: str) -> str:
    """What matches a secret that is not in base64; a short one where it stands by itself."""
    plain = _INVISIBLE.join(map(_any_form, secret))
    return plain if len(secret) >= _MIN_KEY else rf"{_START}{plain}{_END}"


def _any_form(character: str) -> str:
    """Finds a character as it is, after backslashes, and as in addresses, JSON and HTML."""
    code = ord(character)
    plain = re.escape(character) if character.isalnum() else rf"\\*{re.escape(character)}"
    in_html = rf"&#(?:[xX]0*(?i:{code:x})|0*{code});"
    return rf"(?:{plain}|%(?:25)*(?i:{code:02x})|\\+u00(?i:{code:02x})|{in_html})"


def _in_base64(key: str) -> set[str]:
    """What a key becomes in base64 behind 0, 1 or 2 further bytes, as far as it is the key's."""
    found = set()
    for before in range(3):
        data = b"\0" * before + key.encode()
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode(data).decode()
            # characters that other bytes have a part in are left out
            found.add(text[-(-before * 8 // 6) : len(data) * 8 // 6])
    return found
