"""Signals at any moment of a command: one line, the state saved where there is one."""

import contextlib
import gc
import os
import signal
import sys
import threading
import time
import weakref

import pytest
from support.commands import ended, started
from support.runs import MECHANICAL, At, assert_same_run

import jaxecon as je
from jaxecon.cli import app as cli_app
from jaxecon.cli import entry
from jaxecon.cli.errors import one_line_errors, saying_how_to_continue
from jaxecon.core.errors import Interrupted
from jaxecon.simulation import signals
from jaxecon.simulation.signals import ENDING, handling_signals
from jaxecon.storage.checkpoint_files import Position, newest

# A command that waits in a library's code, as while JAX is imported or vLLM starts.
WAITS = """if True:
    import signal, sys, time
    from jaxecon.cli import app
    def waits():
        try:
            print("ready", flush=True)
            while True:
                time.sleep(0.02)
        finally:
            time.sleep({cleanup})
            print("cleaned", flush=True)
    app.app.command("waits")(waits)
    sys.argv = ["jaxecon", "waits"]
    app.main()
"""


def waiting(cleanup=0.0, prelude=""):
    process = started("-c", WAITS.format(cleanup=cleanup), prelude=prelude, XLA_FLAGS="")
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_ends_any_command_with_one_line(number):
    process = waiting()
    process.send_signal(number)
    assert ended(process) == (128 + number, "cleaned\n", "jaxecon: interrupted\n")


def test_signals_in_a_row_are_one_request():
    """A closing terminal sends SIGHUP twice, and what shuts down sends SIGTERM too."""
    process = waiting(cleanup=0.3)
    for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM, signal.SIGTERM):
        process.send_signal(number)
    status, out, errors = ended(process)
    assert status in (128 + signal.SIGHUP, 128 + signal.SIGTERM)  # whichever Python sees first
    assert (out, errors) == ("cleaned\n", "jaxecon: interrupted\n")


def test_a_command_that_hangs_in_its_tidying_ends():
    code = f"import jaxecon.simulation.signals as s; s._TIDYING_SECONDS = 0.3\n{WAITS}"
    process = started("-c", code.format(cleanup=600), XLA_FLAGS="")
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert ended(process) == (128 + signal.SIGTERM, "", "jaxecon: interrupted\n")


def test_ignored_signals_stay_ignored():
    """Of nohup, and of a shell's background jobs."""
    process = waiting(prelude="trap '' HUP INT")
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGINT)
    with pytest.raises(Exception, match="timed out"):
        process.wait(0.3)
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 128 + signal.SIGTERM


@pytest.fixture
def own_handlers():
    """Python's handlers, whatever started the tests."""
    before = {number: signal.getsignal(number) for number in ENDING}
    for number in ENDING:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_handlers_are_put_back(own_handlers):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with handling_signals() as outer:
        with handling_signals() as inner:
            assert signal.getsignal(signal.SIGTERM) is inner
        assert signal.getsignal(signal.SIGTERM) is outer
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    threads = []
    thread = threading.Thread(target=lambda: threads.append(handling_signals().__enter__()))
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_signal_that_a_library_swallowed_ends_the_run_all_the_same(own_handlers):
    with handling_signals():
        with contextlib.suppress(BaseException):
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted) as interrupted, handling_signals():
            raise AssertionError
    assert interrupted.value.signal == signal.SIGTERM


class _Dying:
    """Ends the process by a signal while it is deleted."""

    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)


def _in_collection():
    def callback(phase, _):
        gc.callbacks.remove(callback)
        os.kill(os.getpid(), signal.SIGTERM)

    gc.callbacks.append(callback)
    gc.collect()


def _in_deletion():
    _Dying()


def _in_weak_reference():
    dead = set()
    _ = weakref.ref(dead, lambda _: os.kill(os.getpid(), signal.SIGTERM))
    del dead


def _wait_after(ignoring, stop):
    with handling_signals() as handler:
        handler.stop = stop
        ignoring()
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            time.sleep(0.005)


@pytest.mark.parametrize("ignoring", [_in_collection, _in_deletion, _in_weak_reference])
@pytest.mark.parametrize("asked", [False, True])
def test_a_signal_whose_error_python_ignores_is_raised_again(own_handlers, capfd, ignoring, asked):
    """Functions that Python calls by itself, as the garbage collector's."""

    def stop(number):
        raise Interrupted(number)

    with pytest.raises(Interrupted):
        _wait_after(ignoring, stop if asked else None)
    assert capfd.readouterr() == ("", "")


def test_other_errors_that_python_ignores_are_said(own_handlers, monkeypatch):
    said = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: said.append(unraisable.exc_value))
    error = ZeroDivisionError()

    def callback(phase, _):
        gc.callbacks.remove(callback)
        raise error

    with handling_signals():
        gc.callbacks.append(callback)
        gc.collect()
    assert said == [error]


def _signal_becomes_import_error():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except BaseException:
        raise ImportError("initializing the extension") from None


def test_an_error_that_a_library_made_of_a_signal(own_handlers, capsys):
    with pytest.raises(SystemExit) as left, handling_signals(), one_line_errors():
        _signal_becomes_import_error()
    assert (left.value.code, capsys.readouterr().err) == (143, "jaxecon: interrupted\n")
    with pytest.raises(SystemExit), handling_signals(), saying_how_to_continue("resume", "a"):
        _signal_becomes_import_error()
    assert capsys.readouterr().err == "jaxecon: interrupted; continue with: jaxecon resume a\n"
    with pytest.raises(ImportError), handling_signals(), one_line_errors():
        raise ImportError


def _swallowed():
    with contextlib.suppress(BaseException):
        os.kill(os.getpid(), signal.SIGTERM)
    sys.exit(0)


def test_a_command_that_ends_although_a_signal_came(own_handlers, monkeypatch, capsys):
    monkeypatch.setattr(cli_app, "app", _swallowed)
    monkeypatch.setattr(cli_app, "guard_streams", lambda: None)
    with pytest.raises(SystemExit) as left:
        cli_app.main()
    assert (left.value.code, capsys.readouterr().err) == (143, "jaxecon: interrupted\n")


@pytest.mark.parametrize("raised", [lambda: None, _signal_becomes_import_error])
def test_a_signal_while_the_commands_load(own_handlers, monkeypatch, capsys, raised):
    class Loading:
        def find_spec(self, name, *_):
            if name == "jaxecon.cli.app":
                raised()
                os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(sys, "meta_path", [Loading(), *sys.meta_path])
    monkeypatch.delitem(sys.modules, "jaxecon.cli.app")
    with pytest.raises(SystemExit) as left:
        entry.main()
    assert (left.value.code, capsys.readouterr().err) == (143, "jaxecon: interrupted\n")


def test_a_signal_that_a_library_prints(own_handlers, monkeypatch):
    """NumPy's, for the libraries that import it from C."""
    printed = []
    monkeypatch.setattr(sys, "excepthook", lambda *what: printed.append(what[1]))
    other = ZeroDivisionError()
    with handling_signals():
        for error in (Interrupted(2), other):
            sys.excepthook(type(error), error, None)
    assert printed == [other]


def test_the_second_request_is_obeyed_at_once(own_handlers, monkeypatch):
    monkeypatch.setattr(signals, "_ONE_REQUEST_SECONDS", 0.0)
    asked = []
    with handling_signals() as handler:
        handler.stop = asked.append
        os.kill(os.getpid(), signal.SIGHUP)
        assert asked == [signal.SIGHUP]
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGINT)
        assert asked == [signal.SIGHUP]


@pytest.mark.parametrize("number", ENDING)
def test_a_run_is_saved_and_continues_to_the_same_end(
    tmp_path, tmp_path_factory, own_handlers, number
):
    whole = tmp_path_factory.getbasetemp() / "signals-whole"
    if not whole.exists():
        je.run(MECHANICAL, out=whole)

    def closing():
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)

    with pytest.raises(Interrupted):
        je.run(MECHANICAL, out=tmp_path / "a", listener=At(closing, year=1, day=2))
    run = je.load(tmp_path / "a")
    assert run.manifest["status"] == "interrupted"
    found, _ = newest(tmp_path / "a" / "checkpoints")
    assert found.position == Position(1, 2)
    je.resume(tmp_path / "a")
    assert_same_run(tmp_path / "a", whole)


def test_the_first_year_has_a_checkpoint_whatever_the_clock(tmp_path):
    """A run that is killed after its first year does not begin again."""
    config = MECHANICAL | {"checkpoint": {"every_minutes": 1000, "keep_last": 100}}
    je.run(config, out=tmp_path / "a")
    folders = sorted(path.name for path in (tmp_path / "a" / "checkpoints").iterdir())
    assert folders == ["00000001-000000", "00000003-000000"]
    never = MECHANICAL | {"checkpoint": {"every_minutes": None}}
    je.run(never, out=tmp_path / "b")
    folders = sorted(path.name for path in (tmp_path / "b" / "checkpoints").iterdir())
    assert folders == ["00000003-000000"]
