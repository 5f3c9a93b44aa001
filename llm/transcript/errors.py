"""Errors of SQLite, of the disk and of damaged values, as one line for the user."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jaxecon.core.errors import DiskError


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn errors of the disk and of SQLite into a DiskError that names the transcript."""
    try:
        yield
    except OSError as error:
        raise DiskError(f"transcript: cannot use {path}: {error.strerror or error}") from error
    except sqlite3.OperationalError as error:
        raise DiskError(f"transcript: cannot use {path}: {error}") from error
    except UnicodeDecodeError as error:  # SQLite's message quotes damaged bytes of the file
        raise DiskError(f"transcript: {path} is damaged: {error.object!r:.80}") from error
    except sqlite3.DatabaseError as error:
        if type(error) is not sqlite3.DatabaseError:  # a subclass is our mistake, not the file's
            raise
        raise DiskError(
            f"transcript: {path} is not a jaxecon transcript, or is damaged: {error}"
        ) from error


@contextmanager
def decoded(path: Path) -> Iterator[None]:
    """Turn errors of decoding damaged values into a DiskError that names the transcript."""
    try:
        yield
    except DiskError:
        raise
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise DiskError(f"transcript: {path} is damaged: {error!r}") from error
