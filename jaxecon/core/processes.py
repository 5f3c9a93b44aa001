"""Coordination of several processes that compute one run, each with its own devices.

All run the same program on the same configuration; the main one writes and prints. What only one
process knows (a signal arrived, a checkpoint is due, a disk is full) must reach all of them before
they go on. Otherwise some would wait forever for a collective operation that others never enter.
"""

import atexit
import os
import re
import secrets
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, NoReturn, TypeVar

import numpy as np

from jaxecon.core.errors import UserError, first_line

COORDINATOR, PROCESSES, PROCESS = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
_ENVIRONMENT = (COORDINATOR, PROCESSES, PROCESS)
GONE, _LOST_STATUS = (
    "jaxecon: another process of this run has gone; start all again, with resume",
    3,
)
_LONGEST = 2000  # bytes of a message, at most
_PATIENCE = 10.0  # seconds that the other processes have to end too
_leaving = threading.Event()
_ending = threading.RLock()  # the thread that has it says why this process ends, and no other
_LOST = re.compile(
    r"gloo|nccl|coordination service|connection (closed|reset)|heartbeat", re.IGNORECASE
)

T = TypeVar("T")


def join_run(seconds: int = 300) -> None:
    """Make this process one of the several processes of a run, before anything else uses JAX.

    The environment says which processes these are: JAX_COORDINATOR_ADDRESS (host:port of the main
    one), JAX_NUM_PROCESSES and JAX_PROCESS_ID (from 0). If none of these is set, Slurm, Open MPI or
    a TPU says it.

    Args:
        seconds: how long to wait for the others. After that, this process ends with one line and
            exit status 2, where JAX itself would end it with a stack trace.

    Raises:
        UserError: the environment is incomplete or contradicts itself, or the main process's port
            is taken.
    """
    import jax

    address, count, index = _place_in_run()
    where = f" at {address}" if address else ""

    def give_up() -> None:
        others = "the others" if count is None else f"{count} processes"
        _end(
            f"jaxecon: --join-processes: {others} did not all come together{where} "
            f"within {seconds} s",
            2,
        )

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_preemption_service", False)  # it would intercept SIGTERM
    waiting = threading.Timer(seconds, give_up)
    waiting.daemon = True
    waiting.start()
    try:
        if index == 0 and address and not os.environ.get("JAX_COORDINATOR_BIND_ADDRESS"):
            # tried first: with a port that is taken, JAX raises or dies of a segmentation fault
            _server(int(address.rsplit(":", 1)[1])).close()
        jax.distributed.initialize(address, count, index, initialization_timeout=seconds + 60)
        jax.devices()  # on CPUs the processes connect a second time here
    except (ValueError, TypeError) as error:
        raise UserError(
            f"--join-processes: nothing says where the other processes are ({error}); set "
            f"{', '.join(_ENVIRONMENT)}, or start under Slurm"
        ) from error
    except (OSError, OverflowError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "RPC server" not in str(error):
            raise  # not about the port: another process may have gone
        raise UserError(
            f"--join-processes: cannot listen{where} ({first_line(error)}); take another port"
        ) from error
    finally:
        waiting.cancel()
    if has_several_processes():
        _tell_of_failures()
        _watch(address.rsplit(":", 1)[0].strip("[]") if address else None)


def _place_in_run() -> tuple[str | None, int | None, int | None]:
    """The main process's host:port, the number of processes and the index of this one.

    All are None if the environment leaves them to Slurm and the like.

    Raises UserError if only some of them are set, or if they contradict each other.
    """
    values = {name: os.environ.get(name) for name in _ENVIRONMENT}
    address, *numbers = values.values()
    if any(values.values()):
        missing = [name for name, value in values.items() if not value]
        if missing:
            raise UserError(
                f"--join-processes: {' and '.join(missing)} not set; all of {', '.join(values)}, "
                "or none under Slurm"
            )
        assert address is not None
        if not re.fullmatch(r".+:\d+", address):
            raise UserError(f"{COORDINATOR}: {address!r}; the first process's host:port")
        for name, value in ((PROCESSES, numbers[0]), (PROCESS, numbers[1])):
            if value is None or not value.isdigit():
                raise UserError(f"{name}: {value!r}; a whole number")
    count, index = (None if value is None else int(value) for value in numbers)
    if count is not None and index is not None and not index < count:
        raise UserError(f"{PROCESS}: {index}; 0 to {count - 1}, with {PROCESSES}={count}")
    return address, count, index


def has_several_processes() -> bool:
    """Whether this process is one of several processes of a run."""
    # may be called before JAX is loaded, for example to refuse a folder that cannot be written
    jax = sys.modules.get("jax")
    return jax is not None and jax.distributed.is_initialized() and jax.process_count() > 1


def is_main_process() -> bool:
    """Whether this is the main process, which writes and prints."""
    return not has_several_processes() or _jax().process_index() == 0


def refuse_several(what: str) -> None:
    """Raise UserError if this process is one of several."""
    if has_several_processes():
        raise UserError(f"{what}: works in one process, not in {_jax().process_count()}")


def run_together(action: Callable[[], T]) -> T:
    """Call `action` in every process, and return its result once all have finished.

    If it fails in one process, all raise: that one its own error, the others UserError.
    """
    if not has_several_processes():
        return action()
    from jax.experimental import multihost_utils

    failure, raised, result = "", None, None
    try:
        result = action()
    except Exception as error:
        failure, raised = first_line(error), error
    failures = [_unpacked(line) for line in multihost_utils.process_allgather(_packed(failure))]
    if raised is not None:
        raise raised
    if any(failures):
        raise UserError(next(line for line in failures if line))
    return result  # type: ignore[return-value]


def broadcast_from_main(text: str) -> str:
    """Return the main process's text, in all processes."""
    if not has_several_processes():
        return text
    from jax.experimental import multihost_utils

    return _unpacked(multihost_utils.broadcast_one_to_all(_packed(text)))


def gather(*numbers: int) -> np.ndarray:
    """Return the numbers of all processes, (processes, numbers), in every process."""
    own = np.asarray(numbers, np.int32)
    if not has_several_processes():
        return own[None]
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(own))


def is_lost_process(error: BaseException) -> bool:
    """Whether an error means that another process of the run has gone."""
    return has_several_processes() and _LOST.search(str(error)) is not None


def leave(status: int, line: str) -> NoReturn:
    """End this process, which may be one of several, with a line on standard error, if any.

    It waits some seconds for the others to end too, and then ends without them.
    """
    with _ending:
        _leaving.set()
        if line:
            print(line, file=sys.stderr)
    if has_several_processes():
        gone = threading.Timer(_PATIENCE, lambda: os._exit(status))
        gone.daemon = True
        gone.start()
        _jax().distributed.shutdown()
        _end("", status)
    sys.exit(status)


def _tell_of_failures() -> None:
    """Make an unexpected error in this process end the other processes too.

    The process then ends at once. At a normal end of the interpreter JAX would wait for the others.
    """
    show = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if is_lost_process(error):  # a collective noticed before `_watch`
            _end_as_lost()
        show(kind, error, trace)
        if not _leaving.is_set():
            _end("", 1)

    sys.excepthook = hook


def _watch(host: str | None) -> None:
    """End this process at once, and with one line, if another one ends before the run does.

    Each process keeps an idle connection to the main one, at `host` or the host name that the main
    one reports. It breaks when either of the two ends. JAX's own heartbeats need a minute or two
    and end the process with a stack trace; only they notice a machine that loses its power.
    """
    server, address = None, ""
    if is_main_process():
        server = _server(0)
        address = f"{socket.gethostname()} {server.getsockname()[1]} {secrets.token_hex(16)}"
    name, port, token = broadcast_from_main(address).split()
    atexit.register(_leaving.set)  # runs before JAX's own exit handler, which waits for all

    def follow(connection: socket.socket) -> None:
        with connection:
            with suppress(OSError):
                connection.settimeout(None)
                connection.recv(1)
            _end_as_lost()

    def accept(server: socket.socket) -> None:
        while True:
            connection, _ = server.accept()
            connection.settimeout(_PATIENCE)
            try:
                ours = connection.recv(len(token), socket.MSG_WAITALL) == token.encode()
            except OSError:
                ours = False
            if ours:
                threading.Thread(target=follow, args=(connection,), daemon=True).start()
            else:
                connection.close()  # not from a process of this run

    if server is not None:
        threading.Thread(target=accept, args=(server,), daemon=True).start()
        return
    try:
        connection = socket.create_connection((host or name, int(port)), timeout=_PATIENCE)
        connection.sendall(token.encode())
    except OSError as error:
        print(
            f"jaxecon: no connection to {host or name}:{port} ({error}): a lost process is "
            "noticed after minutes",
            file=sys.stderr,
        )
        return
    threading.Thread(target=follow, args=(connection,), daemon=True).start()


def _server(port: int) -> socket.socket:
    """A socket that listens on all of this machine's addresses. Raises OSError, OverflowError."""
    both = socket.has_dualstack_ipv6()
    return socket.create_server(
        ("", port), family=socket.AF_INET6 if both else socket.AF_INET, dualstack_ipv6=both
    )


def _jax() -> Any:
    import jax

    return jax


def _packed(text: str) -> np.ndarray:
    data = text.encode()[:_LONGEST]
    return np.frombuffer(data.ljust(_LONGEST, b"\0"), np.uint8)


def _unpacked(data: Any) -> str:
    return bytes(data).rstrip(b"\0").decode(errors="replace")


def _end_as_lost() -> None:
    """End the process at once because another has gone, unless this one is leaving anyway."""
    with _ending:
        if not _leaving.is_set():
            _end(GONE, _LOST_STATUS)


def _end(line: str, status: int) -> None:
    """End the process at once. Of several threads that call this, the first one's line is said."""
    with _ending:
        if line:
            print(line, file=sys.stderr)
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:  # whatever the streams say
            os._exit(status)
