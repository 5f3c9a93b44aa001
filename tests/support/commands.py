"""Commands in processes of their own: with other environments, limits and standard streams."""

import os
import subprocess
import sys

from support.environment import ROOT

# Whoever started the tests may ignore signals (a shell's background, nohup), which processes
# inherit, and which a shell cannot undo.
_SIGNALS_AS_USUAL = """if True:
    import os, signal, sys
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    os.execv(sys.argv[1], sys.argv[1:])
"""


def started(
    *arguments: object, prelude: str = "", stdout: int = subprocess.PIPE, **environment: str
) -> "subprocess.Popen[str]":
    """`python ARGUMENTS` in the background.

    prelude: what the shell does first, such as `ulimit -n 20`. stdout: a descriptor. environment:
    variables besides this process's.
    """
    shell = ["/bin/sh", "-c", f'{prelude}\nexec "$@"', "sh", sys.executable]
    return subprocess.Popen(
        [sys.executable, "-IS", "-c", _SIGNALS_AS_USUAL, *shell, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
    )


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """The exit status of a process, and what it wrote on standard output and standard error."""
    out, errors = process.communicate(timeout=120)
    return process.returncode, out or "", errors


def command(
    *arguments: object, prelude: str = "", stdout: int = subprocess.PIPE, **environment: str
) -> tuple[int, str, str]:
    """The exit status and output of `jaxecon ARGUMENTS`."""
    return ended(
        started("-m", "jaxecon", *arguments, prelude=prelude, stdout=stdout, **environment)
    )
