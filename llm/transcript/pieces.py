"""Texts as lines, each of which is stored once."""

import hashlib
import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from typing import get_args

from llm.messages import Message, Role

_ROLES: tuple[Role, ...] = get_args(Role)  # stored by their index: new ones go at the end


class PieceWriter:
    """Adds lines to a file and packs messages into numbers of stored lines.

    Call `forget` after a transaction that was rolled back.
    """

    _MOST = 100_000  # line numbers kept: enough for the histories of some thousand agents
    _MAX_RULES = 64

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._numbers: dict[str, int] = {}
        self._rules: dict[str, list[str]] = {}
        self._packed_rules: dict[str, tuple[bytes, int]] = {}

    def pack(self, chats: Sequence[Sequence[Message]]) -> list[bytes]:
        """Pack each chat's messages for `unpack`, as a part of the caller's transaction.

        A message is its role, its number of lines, and each line's distance from the line before:
        neighbours in a prompt were mostly stored within a day of each other, so that two bytes are
        enough.
        """
        if len(self._numbers) >= self._MOST:
            self.forget()
        split = [[self._lines(message) for message in chat] for chat in chats]
        self._store(
            dict.fromkeys(
                line
                for chat in split
                for lines in chat
                for line in lines
                if line not in self._numbers
            )
        )
        return [self._packed(chat, lines) for chat, lines in zip(chats, split, strict=True)]

    def _lines(self, message: Message) -> list[str]:
        known = self._rules.get(message.content)
        if known is None:
            known = message.content.splitlines(keepends=True)
            if message.role == "system":  # rules that thousands of requests share
                if len(self._rules) >= self._MAX_RULES:
                    self._rules.clear()
                    self._packed_rules.clear()
                self._rules[message.content] = known
        return known

    def _packed(self, chat: Sequence[Message], split: Sequence[list[str]]) -> bytes:
        packed, last = bytearray(), 0
        for i, (message, lines) in enumerate(zip(chat, split, strict=True)):
            known = self._packed_rules.get(message.content) if i == 0 else None
            if known is not None:
                packed, last = bytearray(known[0]), known[1]
                continue
            _append_number(packed, _ROLES.index(message.role))
            _append_number(packed, len(lines))
            for line in lines:
                piece = self._numbers[line]
                distance = piece - last
                _append_number(packed, 2 * distance if distance >= 0 else -2 * distance - 1)
                last = piece
            if i == 0 and message.content in self._rules:
                self._packed_rules[message.content] = bytes(packed), last
        return bytes(packed)

    def forget(self) -> None:
        """Forget line numbers, which may not be in the file."""
        self._numbers.clear()
        self._rules.clear()
        self._packed_rules.clear()

    def _store(self, lines: Collection[str]) -> None:
        """Find the numbers of lines and add lines that the file lacks, in a few statements."""
        if not lines:
            return
        # A short hash, because it is stored twice (here and in the index); texts are compared too.
        hashes = {
            line: int.from_bytes(
                hashlib.blake2b(line.encode(), digest_size=4).digest(), signed=True
            )
            for line in lines
        }
        wanted = json.dumps(list(hashes.values()))
        stored = self._db.execute(
            "SELECT id, text FROM pieces WHERE hash IN (SELECT value FROM json_each(?))", (wanted,)
        )
        self._numbers.update({text: id_ for id_, text in stored if text in hashes})
        (last,) = self._db.execute("SELECT coalesce(max(id), 0) FROM pieces").fetchone()
        new = [
            (last + i, hashes[line], line)
            for i, line in enumerate((x for x in hashes if x not in self._numbers), 1)
        ]
        insert_rows(self._db, "INSERT INTO pieces VALUES", new)
        self._numbers.update({line: id_ for id_, _, line in new})


def insert_rows(
    db: sqlite3.Connection, insert: str, rows: Sequence[tuple[object, ...]], then: str = ""
) -> None:
    """Insert many rows per statement: while SQLite runs one, other Python threads can work.

    insert: the statement up to the rows (INSERT INTO .. VALUES). then: what follows them (ON
    CONFLICT ..).
    """
    start = 0
    for size in (64, 8, 1):  # three statements in SQLite's cache, whatever the number of rows
        while len(rows) - start >= size:
            block = rows[start : start + size]
            one = f"({', '.join('?' * len(block[0]))})"
            db.execute(
                f"{insert} {', '.join([one] * size)} {then}",
                [value for row in block for value in row],
            )
            start += size


def unpack(db: sqlite3.Connection, packed: bytes) -> list[Message]:
    """The inverse of `PieceWriter.pack`.

    Raises ValueError or LookupError where the bytes were not packed for this file.
    """
    numbers, last = _numbers(packed), 0
    chat: list[tuple[Role, list[int]]] = []
    for role in numbers:
        pieces = []
        for _ in range(_next(numbers)):
            zigzag = _next(numbers)
            last += zigzag // 2 if zigzag % 2 == 0 else -(zigzag + 1) // 2
            pieces.append(last)
        chat.append((_ROLES[role], pieces))
    wanted = json.dumps(sorted({piece for _, pieces in chat for piece in pieces}))
    lines = dict(
        db.execute(
            "SELECT id, text FROM pieces WHERE id IN (SELECT value FROM json_each(?))", (wanted,)
        )
    )
    return [Message(role, "".join(lines[piece] for piece in pieces)) for role, pieces in chat]


def _append_number(packed: bytearray, number: int) -> None:
    """Append a number, seven bits a byte, lowest first; the eighth bit says that more follow."""
    while number >= 0x80:
        packed.append(number & 0x7F | 0x80)
        number >>= 7
    packed.append(number)


def _numbers(packed: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in packed:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield number
            number = shift = 0
    if shift:
        raise ValueError("a number without an end")


def _next(numbers: Iterator[int]) -> int:
    for number in numbers:
        return number
    raise ValueError("fewer numbers than promised")
