"""YAML 1.2 (its core schema) as text and values, bounded: no input takes more than seconds.

PyYAML reads YAML 1.1, in which 0777 is 511, 1:30 is 90, yes is true and 2024-01-01 a date. Here
0777 is 777, and the others are texts. Where a plain word has two readings, written text quotes it.
"""

import math
import re
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import yaml

from jaxecon.core.errors import UserError
from jaxecon.core.files import check_regular

MAX_BYTES = 1_000_000  # of a file of settings
MAX_DEPTH = 40  # of lists and mappings in each other; settings need six
MAX_DIGITS = 300  # of a whole number, which then is within the range of floats
MAX_VALUES = 500_000  # of one tree, aliases counted each time

_TAG = "tag:yaml.org,2002:"

# tag, the whole of a plain word, its first characters
_PLAIN = (
    ("null", re.compile(r"(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF")),
    ("int", re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z"), list("-+0123456789")),
    (
        "float",
        re.compile(
            r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
            r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
        ),
        list("-+.0123456789"),
    ),
    ("merge", re.compile(r"<<\Z"), ["<"]),
)


class _Loader(yaml.SafeLoader):
    """The core schema: null, booleans, numbers, texts, lists and mappings, with merge keys."""

    yaml_constructors: ClassVar[dict[str | None, Any]] = {}

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = self._merged = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise yaml.composer.ComposerError(None, None, _TOO_DEEP, self.get_mark())
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping in which no key is given twice; merged ones come after its own."""
        if not isinstance(node, yaml.MappingNode):
            raise yaml.constructor.ConstructorError(
                None, None, "a mapping is needed here", node.start_mark
            )
        mapping: dict[Any, Any] = {}
        merged: list[yaml.Node] = []
        for key_node, value_node in node.value:
            if key_node.tag == f"{_TAG}merge":
                merged.append(value_node)
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                problem = "a key that is a list or a mapping; keys are texts"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            if key in mapping:
                problem = f"{str(key)[:80]} is given twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            mapping[key] = self.construct_object(value_node, deep=True)
        for value_node in merged:
            for other in self._merged_mappings(value_node):
                self._merged += len(other)
                if self._merged > MAX_VALUES:
                    problem = f"merge keys (<<) of more than {MAX_VALUES:,} values"
                    raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
                mapping = {**other, **mapping}
        return mapping

    def _merged_mappings(self, node: yaml.Node) -> Iterator[dict[Any, Any]]:
        """The mappings of a merge key; of several, the first one's values count."""
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for part in parts:
            if not isinstance(part, yaml.MappingNode):
                problem = "a merge key (<<) takes a mapping or a list of mappings"
                raise yaml.constructor.ConstructorError(None, None, problem, part.start_mark)
            yield self.construct_object(part, deep=True)

    def construct_whole_number(self, node: yaml.ScalarNode) -> int:
        text = str(self.construct_scalar(node))
        if not _PLAIN[2][1].match(text):  # tagged !!int by hand
            raise yaml.constructor.ConstructorError(
                None, None, f"{text[:80]!r} is not a whole number", node.start_mark
            )
        if len(text) > MAX_DIGITS:
            raise yaml.constructor.ConstructorError(
                None, None, _too_long(len(text)), node.start_mark
            )
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        return int(text[2:] if base != 10 else text, base)

    def construct_number(self, node: yaml.ScalarNode) -> float:
        text = str(self.construct_scalar(node))
        if not _PLAIN[3][1].match(text):
            raise yaml.constructor.ConstructorError(
                None, None, f"{text[:80]!r} is not a number", node.start_mark
            )
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))

    def construct_truth(self, node: yaml.ScalarNode) -> bool:
        text = str(self.construct_scalar(node))
        if not _PLAIN[1][1].match(text):
            raise yaml.constructor.ConstructorError(
                None, None, f"{text[:80]!r} is not true or false", node.start_mark
            )
        return text.lower() == "true"


_TOO_DEEP = f"more than {MAX_DEPTH} lists or mappings in each other"

_Loader.yaml_implicit_resolvers = {}  # none of YAML 1.1
for _tag, _word, _first in _PLAIN:
    _Loader.add_implicit_resolver(_TAG + _tag, _word, _first)
_Loader.yaml_constructors |= {
    f"{_TAG}null": lambda loader, node: None,
    f"{_TAG}bool": _Loader.construct_truth,
    f"{_TAG}int": _Loader.construct_whole_number,
    f"{_TAG}float": _Loader.construct_number,
    f"{_TAG}str": _Loader.construct_yaml_str,
    f"{_TAG}merge": _Loader.construct_yaml_str,  # a value, not a key
    f"{_TAG}seq": lambda loader, node: loader.construct_sequence(node, deep=True),
    f"{_TAG}map": lambda loader, node: loader.construct_mapping(node, deep=True),
    None: _Loader.construct_undefined,
}


class _Dumper(yaml.SafeDumper):
    """Quotes what either YAML 1.1 or 1.2 would take for something else than a text."""


for _tag, _word, _first in _PLAIN:
    _Dumper.add_implicit_resolver(_TAG + _tag, _word, _first)


def yaml_value(text: str, *, names_line: bool = False) -> Any:
    """The value of a YAML text.

    Raises ValueError, one line; names_line: which begins with the number of the text's line.
    """
    try:
        value = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark and names_line else ""
        raise ValueError(where + _problem(error)) from None
    check_tree(value)
    return value


def yaml_text(tree: Any, *, allow_unicode: bool = False) -> str:
    """A tree as YAML, in its own order."""
    return str(yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=allow_unicode))


def flow_text(tree: Any) -> str:
    """A tree as YAML on one line."""
    text = yaml.dump(
        tree,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=True,
        width=math.inf,
    )
    return str(text).strip()


def read_yaml_file(path: Path) -> Any:
    """The value of a YAML file. Raises UserError, one line with the path and what is wrong."""
    try:
        text = _bytes_of(path).decode("utf-8")
        return yaml_value(text, names_line=True)
    except UnicodeDecodeError:
        raise UserError(f"configuration: {path}: not a text file in UTF-8") from None
    except OSError as error:
        raise UserError(f"configuration: {path}: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"configuration: {path}: {error}") from None


def _bytes_of(path: Path) -> bytes:
    """A file's content. Raises OSError for what is no file, ValueError for what is large."""
    check_regular(path)
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES:,} bytes; a file of settings has fewer")
    return content


def _problem(error: yaml.YAMLError) -> str:
    """What a reader of YAML says, on one line."""
    if isinstance(error, yaml.reader.ReaderError):
        return f"not YAML: it holds the character {error.character!r:.20}"
    return " ".join(str(getattr(error, "problem", None) or "not YAML").split())


def check_tree(tree: Any) -> None:
    """Raise ValueError, one line, for a tree that is too deep or too large to be one of settings.

    Trees that contain themselves are too deep.
    """
    seen, todo = 0, [(tree, 0)]
    while todo:
        node, depth = todo.pop()
        seen += 1
        if depth > MAX_DEPTH:
            raise ValueError(_TOO_DEEP)
        if seen + len(todo) > MAX_VALUES:
            raise ValueError(f"more than {MAX_VALUES:,} values (aliases counted each time)")
        if isinstance(node, int) and abs(node) >= 10**MAX_DIGITS:
            raise ValueError(_too_long(int(node.bit_length() * 0.30103) + 1))
        if isinstance(node, dict):
            todo += [(value, depth + 1) for value in node.values()]
        elif isinstance(node, list | tuple):
            todo += [(value, depth + 1) for value in node]


def _too_long(digits: int) -> str:
    return f"a whole number of {digits:,} digits; at most {MAX_DIGITS}"
