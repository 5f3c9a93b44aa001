"""Standard output and standard error that are full, closed, or pipes without a reader."""

import errno
import os

import pytest
from support.commands import command, ended, started

from jaxecon.cli import streams
from jaxecon.cli.errors import one_line_errors
from jaxecon.core.errors import OutputError

LOST = "jaxecon: standard output: cannot be written ({}); not everything was printed, what was"


@pytest.mark.parametrize(
    ("arguments", "prelude", "reason"),
    [
        (["settings"], "exec > /dev/full", "No space left on device"),
        (["--help"], "exec > /dev/full", "No space left on device"),
        (["settings"], "exec >&-", "Bad file descriptor"),
        (["--version"], "exec >&-", "Bad file descriptor"),
    ],
)
def test_output_that_cannot_be_written(arguments, prelude, reason):
    status, _, errors = command(*arguments, prelude=prelude)
    assert (status, errors.count("\n")) == (2, 1), errors
    assert errors.startswith(LOST.format(reason))


def test_a_pipe_without_a_reader():
    reading, writing = os.pipe()
    os.close(reading)
    status, _, errors = command("settings", stdout=writing)
    os.close(writing)
    assert (status, errors) == (141, "")


@pytest.mark.parametrize("prelude", ["exec 2> /dev/full", "exec 2>&-"])
def test_messages_that_cannot_be_written(prelude):
    status, out, _ = command("settings", prelude=prelude)
    assert status == 0
    assert "population.mechanical" in out
    assert command("nonsense", prelude=prelude) == (2, "", "")


def test_a_commands_own_failure_goes_before_lost_output():
    status, _, errors = command("nonsense", prelude="exec > /dev/full")
    assert (status, errors.count("\n")) == (2, 1)
    assert errors.startswith("jaxecon: No such command 'nonsense' (see ")


def test_files_never_get_the_numbers_of_closed_streams():
    """A library's message to descriptor 2 would be written into the file that has it."""
    code = """if True:
        import os
        from jaxecon.cli.streams import guard_streams
        guard_streams()
        file = os.open("/dev/null", os.O_RDONLY)
        raise SystemExit(0 if file > 2 else 1)
    """
    assert ended(started("-c", code, prelude="exec <&- >&- 2>&-"))[0] == 0


def test_characters_that_an_encoding_lacks():
    code = "from jaxecon.cli.streams import *; guard_streams(); print('η \\ud800 ü')"
    for encoding, shown in (
        ("ascii", "\\u03b7 \\ud800 \\xfc\n"),
        ("latin-1", "\\u03b7 \\ud800 ü\n"),
        ("utf-8", "η \\ud800 ü\n"),
    ):
        process = started("-c", code, PYTHONIOENCODING=encoding)
        assert process.stdout.buffer.read().decode(encoding) == shown
        assert ended(process)[0] == 0


def test_libraries_are_kept_off_standard_output():
    code = """if True:
        import os
        from jaxecon.cli.streams import guard_streams, keep_libraries_off_standard_output
        guard_streams()
        print("before")
        keep_libraries_off_standard_output()
        os.write(1, b"a library\\n")
        print("after")
    """
    assert ended(started("-c", code)) == (0, "before\nafter\n", "a library\n")


def test_the_first_failure_is_raised_and_the_rest_is_dropped():
    with open("/dev/full", "wb") as file:
        output = streams._Output(file.fileno(), None)
        output.write("lost\n")
        with pytest.raises(OutputError, match="No space left on device"):
            output.flush()
        output.write("after it\n")
        output.close()  # nothing that Python would report as it ends


def test_output_error_is_no_error_of_a_file(capsys):
    """Handlers of failed files must not take it for one."""
    for number, status in ((errno.ENOSPC, 2), (errno.EPIPE, 141)):
        error = OutputError(OSError(number, os.strerror(number)))
        assert not isinstance(error, OSError | ValueError | RuntimeError)
        with pytest.raises(SystemExit) as end, one_line_errors():
            raise error
        assert end.value.code == status
        said = "" if number == errno.EPIPE else f"jaxecon: {error}\n"
        assert capsys.readouterr().err == said
