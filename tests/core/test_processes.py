"""How a process of a run ends when several of its threads notice that another has gone."""

import subprocess
import sys
import textwrap

import pytest

from jaxecon.core.processes import GONE

THREADS = """
    import sys, threading
    from jaxecon.core import processes

    class Slow:
        def write(self, text):
            threading.Event().wait(0.05)  # lets the other threads go on
            return sys.__stderr__.write(text)
        def flush(self):
            sys.__stderr__.flush()

    sys.stderr = Slow()
    together = threading.Barrier(4)

    def noticed():
        together.wait()
        processes._end_as_lost()

    for _ in range(3):
        threading.Thread(target=noticed, daemon=True).start()
    together.wait()
    {last}
"""


@pytest.mark.parametrize(
    "last", ["processes._end_as_lost()", "processes.leave(2, 'jaxecon: a mistake')"]
)
def test_one_line_is_said(last):
    """Whichever thread is first: the others may not add theirs."""
    program = textwrap.dedent(THREADS).format(last=last)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    lost, mistake = (f"{GONE}\n", 3), ("jaxecon: a mistake\n", 2)
    assert (done.stderr, done.returncode) in ((lost, mistake) if "leave" in last else (lost,))
