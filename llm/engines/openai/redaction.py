"""Keeps the key out of transcripts, messages and logs."""

import re
from dataclasses import dataclass

_MIN_KEY = 16  # characters; a shorter "key" of a local server may be an ordinary word of a reply


@dataclass(frozen=True)
class Redaction:
    """Takes the key out of what a server says.

    key: "" where there is none. others: further secrets, such as those in headers.
    """

    key: str
    others: tuple[str, ...] = ()

    def reply(self, text: str) -> str:
        """The reply as the transcript can store it.

        Unpaired surrogates are replaced, and so is the key, should a server echo it.
        """
        text = text.encode(errors="replace").decode()
        for secret in self._secrets:
            text = text.replace(secret, "[key]") if len(secret) >= _MIN_KEY else text
        return text

    def line(self, words: object) -> str:
        """One short line without the key or anything that looks like one."""
        text = str(words).encode(errors="replace").decode()
        for secret in self._secrets:
            text = text.replace(secret, "[key]")
        text = re.sub(r"(?i)\b(bearer|basic)\s+\S+", r"\1 [key]", text)
        text = re.sub(r"\bsk-[\w*-]{4,}", "[key]", text)
        return " ".join(text.split())[:300] or type(words).__name__

    @property
    def _secrets(self) -> list[str]:
        """The longest first, since one may be a part of another."""
        return sorted(filter(None, {self.key, *self.others}), key=len, reverse=True)
