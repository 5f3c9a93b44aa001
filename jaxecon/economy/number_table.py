"""Columns of numbers from a user's table: CSV, also compressed by gzip, or Parquet.

CSV has commas, semicolons, tabs or bars between cells, in UTF-8 or UTF-16. What a file is follows
from its content, not from its name.
"""

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Protocol, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from jaxecon.core.errors import first_line
from jaxecon.core.text import shown

_HEAD = 1_000_000  # bytes in which the first line must end
_MAX_CELL = 40  # characters of a wrong cell that are shown
_DELIMITERS = ",;\t|"
_GZIP = b"\x1f\x8b"
_BINARY = {
    b"PK\x03\x04": "a zip or Excel file",
    b"BZh": "compressed by bzip2",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"\xfd7zXZ": "compressed by xz",
    b"\xd0\xcf\x11\xe0": "an Excel file",
    b"\x89HDF": "an HDF5 file",
    b"SQLite": "an SQLite file",
}
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16's, which it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


class NumberTable(Protocol):
    """An open table.

    names: of the columns, as the file has them.
    """

    names: Sequence[str]

    def numbers(self, columns: Sequence[int]) -> list[np.ndarray]:
        """The columns of these indices, (m,) each.

        Raises ValueError, one line, for a cell that is no number.
        """
        ...

    def place(self, row: int) -> str:
        """Where a row, counted from 0, is found in the file."""
        ...


def open_table(path: Path) -> NumberTable:
    """Open a table. Raises ValueError, one line, for a file that is none."""
    try:
        with path.open("rb") as file:
            begins = file.read(16)
        if begins.startswith(b"PAR1"):
            return _Parquet(path)
        for magic, what in _BINARY.items():
            if begins.startswith(magic):
                raise ValueError(f"is {what}; CSV (also .gz) or Parquet is read")
        return _CSV(path, compressed=begins.startswith(_GZIP))
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        raise ValueError(f"cannot be read ({_reason(error)})") from None


class _Parquet:
    def __init__(self, path: Path) -> None:
        self._file = pa.parquet.ParquetFile(path)
        self.names: Sequence[str] = self._file.schema_arrow.names

    def numbers(self, columns: Sequence[int]) -> list[np.ndarray]:
        names = [self.names[i] for i in columns]
        table = self._file.read(columns=names)
        return [_as_numbers(table[name], name, self, decimal_comma=False) for name in names]

    def place(self, row: int) -> str:
        return f"row {row + 1}"


class _CSV:
    def __init__(self, path: Path, *, compressed: bool) -> None:
        self._path, self._compressed = path, compressed
        with self._open() as file:
            head = file.read(_HEAD)
        self._encoding = next(
            (name for mark, name in _BYTE_ORDER_MARKS.items() if head.startswith(mark)), "utf-8"
        )
        try:
            text = codecs.getincrementaldecoder(self._encoding)().decode(head)
        except UnicodeDecodeError:
            raise ValueError("is not text in UTF-8 or UTF-16") from None
        if "\0" in text:
            raise ValueError("is not text: it holds null characters")
        first = next((line for line in text.splitlines() if line.strip()), "")
        if len(head) == _HEAD and len(text.lstrip()) == len(text.lstrip().splitlines()[0]):
            raise ValueError(f"its first line is longer than {_HEAD:,} characters")
        self._delimiter = max(_DELIMITERS, key=first.count)
        reader = csv.reader(
            io.StringIO(text, newline=""),
            delimiter=self._delimiter,
            skipinitialspace=True,
            strict=True,
        )
        try:
            self.names: Sequence[str] = next((row for row in reader if any(row)), [])
        except csv.Error as error:
            raise ValueError(f"cannot be read as CSV (line {reader.line_num}: {error})") from None
        self._header_lines = reader.line_num

    def numbers(self, columns: Sequence[int]) -> list[np.ndarray]:
        # named by place: a user's names can be equal, or have blanks around them
        names = [str(i) for i in columns]
        try:
            with self._open() as file:
                table = pa.csv.read_csv(
                    pa.PythonFile(file, mode="r"),
                    read_options=pa.csv.ReadOptions(
                        column_names=[str(i) for i in range(len(self.names))],
                        skip_rows=self._header_lines,
                        encoding=self._encoding,
                    ),
                    parse_options=pa.csv.ParseOptions(
                        delimiter=self._delimiter, newlines_in_values=True
                    ),
                    convert_options=pa.csv.ConvertOptions(
                        include_columns=names, column_types=dict.fromkeys(names, pa.string())
                    ),
                )
        except pa.ArrowException as error:
            if "Empty CSV file" in str(error):
                return [np.empty(0)] * len(names)
            raise ValueError(
                self._ragged() or f"cannot be read as CSV ({_reason(error)})"
            ) from None
        comma = self._delimiter != ","
        return [
            _as_numbers(table[name], self.names[i].strip(), self, decimal_comma=comma)
            for i, name in zip(columns, names, strict=True)
        ]

    def place(self, row: int) -> str:
        for at, (line, _) in enumerate(self._rows()):
            if at == row:
                return f"line {line}"
        return f"row {row + 1}"  # where Python and Arrow do not agree on what a row is

    def _ragged(self) -> str:
        """The first row that has not as many cells as there are columns; "" if there is none."""
        for line, cells in self._rows():
            if len(cells) != len(self.names):
                return f"line {line}: {len(cells)} cells for {len(self.names)} columns"
        return ""

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """The lines and cells of all rows below the header that are not empty."""
        with io.TextIOWrapper(self._open(), encoding=self._encoding, newline="") as text:
            reader = csv.reader(text, delimiter=self._delimiter)
            try:
                for cells in reader:
                    if reader.line_num > self._header_lines and cells:
                        yield reader.line_num, cells
            except (csv.Error, UnicodeDecodeError):
                return

    def _open(self) -> IO[bytes]:
        if self._compressed:
            return cast(IO[bytes], gzip.GzipFile(self._path, "rb"))
        return self._path.open("rb")


def _as_numbers(
    column: pa.ChunkedArray, name: str, table: NumberTable, *, decimal_comma: bool
) -> np.ndarray:
    """A column as floats. decimal_comma: whether a comma can stand for the decimal point."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        column = pc.utf8_trim_whitespace(column.cast(pa.string()))
        if decimal_comma:
            column = _with_points(column)
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise ValueError(f"column {name}: holds {kind}; numbers are needed")
    try:
        return np.asarray(column.cast(pa.float64()).to_numpy(), float)
    except pa.ArrowException:
        row = _first_wrong(column)
        cell = shown(column[row].as_py(), _MAX_CELL)
        hint = "; without separators of thousands, like 1234.5" if "," in cell else ""
        raise ValueError(
            f"column {name}, {table.place(row)}: {cell}; a number is needed{hint}"
        ) from None


def _with_points(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Numbers with decimal points for decimal commas, where these can be nothing else."""
    commas = texts.filter(pc.match_substring(texts, ","))
    points = pc.any(pc.match_substring(texts, ".")).as_py()
    thousands = pc.all(pc.match_substring_regex(commas, r"^-?\d{1,3}(,\d{3})+$")).as_py()
    if not len(commas) or points or thousands:
        return texts
    return pc.replace_substring(texts, ",", ".")


def _first_wrong(column: pa.ChunkedArray) -> int:
    """The first cell that is no number, where there is one: found by halving."""
    low, high = 0, len(column)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            column.slice(low, middle - low).cast(pa.float64())
            low = middle
        except pa.ArrowException:
            high = middle
    return low


def _reason(error: Any) -> str:
    return str(getattr(error, "strerror", None) or first_line(error))[:200]
