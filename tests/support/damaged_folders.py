"""Ways in which a file of a run or of a sweep may be damaged, and what its readers may then do."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from jaxecon.core.errors import UserError

Damage = Callable[[Path], None]


def lose(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def lose_last_byte(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def flip_middle(path: Path) -> None:
    flip(path, path.stat().st_size // 2)


def flip(path: Path, place: int, bit: int = 4) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(bytes(content))


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def rename(path: Path) -> None:
    path.rename(path.with_name(f"{path.stem} (1){path.suffix}"))


def misname(path: Path) -> None:
    path.rename(path.with_name(f"part-abc{path.suffix}"))


def copy_beside(path: Path) -> None:
    shutil.copy(path, path.with_name(f"{path.stem} copy{path.suffix}"))
    shutil.copy(path, path.with_name(f"{path.stem}-00000009{path.suffix}"))


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def not_text(path: Path) -> None:
    path.write_bytes(b"\xff\xfe{}\x00")


BYTES: tuple[Damage, ...] = (
    *(lose, empty, halve, lose_last_byte, flip_middle, zero, rename, make_folder, not_text),
)
PARTS: tuple[Damage, ...] = (*BYTES, misname, copy_beside)


def json_content(text: str) -> Damage:
    def damage(path: Path) -> None:
        path.write_text(text)

    damage.__name__ = f"json {text[:12]}"
    return damage


DEEP = 100_000
JSON: tuple[Damage, ...] = (
    *BYTES,
    *(json_content(text) for text in ("[]", "null", "3", '"text"', "{}", '{"format": 2}')),
    json_content("[" * DEEP + "]" * DEEP),
    json_content('{"a":' * 500 + "1" + "}" * 500),
    json_content("9" * 5000),
)


def other_values(content: dict[str, object]) -> list[dict[str, object]]:
    """A JSON object without each of its entries, and with other types in each of them."""
    wrong: list[object] = [None, -1.5, "x", [3], {"x": [None]}]
    found = [{k: v for k, v in content.items() if k != name} for name in content]
    return found + [content | {name: value} for name in content for value in wrong]


def deeper(content: dict[str, object], depth: int) -> str:
    """The JSON with an entry more that is nested so deeply."""
    return json.dumps(content)[:-1] + ', "more": ' + "[" * depth + "]" * depth + "}"


def outcome(reader: Callable[[Path], object], folder: Path) -> object:
    """What a reader returns, or its one line, which must name something in the folder."""
    try:
        return reader(folder)
    except UserError as error:
        line = str(error)
        assert len(line.splitlines()) == 1
        assert len(line) < 2000
        assert str(folder) in line
        return error


@contextmanager
def damaged(file: Path, damage: Damage) -> Iterator[None]:
    """Damage a file, and put everything back: a copy of the whole folder each time takes long."""
    content, beside = file.read_bytes(), set(file.parent.iterdir())
    damage(file)
    try:
        yield
    finally:
        for path in {*file.parent.iterdir()} - (beside - {file}):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        file.write_bytes(content)


def names(error: UserError, file: Path) -> bool:
    """Whether a line says which file is damaged: its name, or its table or checkpoint."""
    return file.name in str(error) or file.parent.name in str(error)
