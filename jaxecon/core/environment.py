"""What surrounds a command: limits and environment variables that would break its libraries.

`check_limits` and `check_xla_flags` look before the libraries are loaded at what would end the
process without a Python error (XLA and the C++ library abort it). `jax_mistake` recognises the
errors that JAX raises for a variable that it cannot use.
"""

import os
import re
import resource
import sys
import threading
import traceback

from jaxecon.core.errors import UserError, first_line
from jaxecon.core.text import shortened

MIN_FILES = 128  # a run with checkpoints and a language model has 100 open at once
_ENOUGH_FILES = 4096  # where the system allows it: many connections, many part files
MIN_ADDRESS_SPACE = 4 << 30  # bytes; a small run reserves 3.6 GB and aborts with 2.1
MAX_CPU_DEVICES = 1024  # each takes threads and memory as it starts
_MIN_THREADS = 64  # JAX, Arrow and the thread that writes checkpoints

# Python's switches of JAX for debugging that a correct run does not survive.
_STRICT = ("JAX_DEBUG_NANS", "JAX_DEBUG_INFS")

# Switches of JAX with which no run works, or none as usual, and what a run does.
_FORBIDDING = {
    "JAX_NO_TRACING": "must be compiled",
    "JAX_NO_EXECUTION": "must compute",
    "JAX_DISABLE_JIT": "then rounds otherwise, and ends otherwise",
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "then rounds otherwise, and ends otherwise",
    "JAX_SCAN3": "needs JAX's usual loops",
    "JAX_ERROR_CHECKING_BEHAVIOR_NAN": "has NaN where nobody is",
    "JAX_ERROR_CHECKING_BEHAVIOR_DIVIDE": "divides by 0 where nobody is",
    "JAX_ERROR_CHECKING_BEHAVIOR_OOB": "looks past ends where nobody is",
}

_DEVICES = ("JAX_PLATFORMS", "JAX_PLATFORM_NAME")  # variables that choose one

_XLA_FLAGS = "XLA_FLAGS"
_FORCED_DEVICES = r"--xla_force_host_platform_device_count=(\d+)"
_CPU_DEVICES = "JAX_NUM_CPU_DEVICES"
_PARSE_FLAGS = "from jaxlib.xla_client import CompileOptions; CompileOptions()"


def check_limits() -> None:
    """Check the limits of this process, and raise that on open files as far as is allowed.

    Raises:
        UserError: a limit is too low.
    """
    _check_files()
    _check_memory()
    _check_threads()
    _check_cpu_devices()
    _check_switches()
    if os.environ.get("COLUMNS") == "0":  # of a terminal without a size: nothing would be printed
        del os.environ["COLUMNS"]


def _check_files() -> None:
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY or allowed >= _ENOUGH_FILES:
        return
    wanted = _ENOUGH_FILES if most == resource.RLIM_INFINITY else min(most, _ENOUGH_FILES)
    if wanted < MIN_FILES:
        raise UserError(
            f"ulimit -n: {wanted} open files; at least {MIN_FILES} are needed (ulimit -n 1024)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _check_memory() -> None:
    allowed, _ = resource.getrlimit(resource.RLIMIT_AS)
    if allowed != resource.RLIM_INFINITY and allowed < MIN_ADDRESS_SPACE:
        raise UserError(
            f"ulimit -v: {allowed >> 10} kB of address space; at least "
            f"{MIN_ADDRESS_SPACE >> 10} are needed, unlimited is best"
        )


def _check_threads() -> None:
    """Start as many threads as the libraries will: they abort where one cannot be started."""
    release, started = threading.Event(), []
    try:
        for _ in range(_MIN_THREADS):
            thread = threading.Thread(target=release.wait, daemon=True)
            thread.start()
            started.append(thread)
    except RuntimeError:
        raise UserError(
            f"{_limit_on_threads()}: no more than {len(started)} threads can be started; at least "
            f"{_MIN_THREADS} are needed"
        ) from None
    finally:
        release.set()
        for thread in started:
            thread.join()


def _limit_on_threads() -> str:
    """What keeps threads from being started: the room for their stacks, or their number."""
    for option, limit in (("-d", resource.RLIMIT_DATA), ("-v", resource.RLIMIT_AS)):
        allowed, _ = resource.getrlimit(limit)
        if allowed != resource.RLIM_INFINITY:
            return f"ulimit {option}: {allowed >> 10} kB"
    return "ulimit -u"


def _check_cpu_devices() -> None:
    """Refuse so many devices that starting them takes all memory."""
    forced = re.findall(_FORCED_DEVICES, os.environ.get(_XLA_FLAGS, ""))
    asked = {_CPU_DEVICES: os.environ.get(_CPU_DEVICES, ""), _XLA_FLAGS: "".join(forced[-1:])}
    for name, number in asked.items():
        text = re.sub(r"^[+0_]+|_", "", number.strip())  # as Python's int takes it
        if text.isdecimal() and (len(text) > 9 or int(text) > MAX_CPU_DEVICES):
            raise UserError(
                f"{name}: {shortened(text, 20)} devices of this machine's processor; at most "
                f"{MAX_CPU_DEVICES:,}"
            )


def _check_switches() -> None:
    on = ("1", "true", "t", "yes", "y", "on", "raise")  # as JAX reads them
    for name, instead in _FORBIDDING.items():
        if os.environ.get(name, "").lower() in on:
            raise UserError(f"{name}: {os.environ[name]!r}; a run {instead}; unset it")


def check_xla_flags() -> None:
    """Parse XLA_FLAGS in a process of its own: XLA ends the process at a flag it does not know.

    Raises:
        UserError: there is such a flag.
    """
    flags = os.environ.get(_XLA_FLAGS, "").strip()
    if not flags or "jax" in sys.modules:  # XLA has read them
        return
    import subprocess  # not for every `jaxecon --help`

    tried = subprocess.run(
        [sys.executable, "-c", _PARSE_FLAGS],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    said = tried.stderr.decode(errors="replace").strip()
    if tried.returncode and (tried.returncode < 0 or _XLA_FLAGS in said or "flag" in said.lower()):
        line = said.splitlines()[0] if said else "XLA aborts"
        reason = re.sub(r"^\w+ [\d:.]+ +\d+ \S+\] ", "", line)  # without the logger's columns
        raise UserError(f"{_XLA_FLAGS}: {flags!r}: {reason}; correct or unset it")


def jax_mistake(error: BaseException) -> str | None:
    """One line about the environment variable that made JAX raise this error; None if none did."""
    said = str(error)
    if isinstance(error, FloatingPointError):
        for name in _STRICT:
            if _is_set(name):
                return f"{name}: {os.environ[name]!r}; a run has NaN where nobody is; unset it"
    if not _raised_by_jax_configuration(error):
        return None
    names = [name for name in sorted(os.environ) if name.startswith("JAX_") and _is_set(name)]
    blamed = [name for name in names if name.lower() in said.lower()]
    if not blamed:  # JAX fails to start a device
        blamed = [name for name in names if name in _DEVICES]
        blamed = [name for name in blamed if os.environ[name] in said] or blamed
    if not blamed:
        return None
    name = max(blamed, key=len)
    reason = first_line(error) if said else "no such device works here"
    return f"{name}: {os.environ[name]!r}: {reason}; correct or unset it"


def _is_set(name: str) -> bool:
    return os.environ.get(name, "") not in ("", "0", "false", "False")


def _raised_by_jax_configuration(error: BaseException) -> bool:
    """Whether an error comes from where JAX reads its variables or starts its devices."""
    places = {frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)}
    return any(
        re.search(r"/jax/_src/(config|xla_bridge|logging_config|hardware_utils)\.py$", place)
        for place in places
    )
