"""A small sweep, and what listens to it."""

import sys

import jax

from jaxecon.sweeps.listener import SilentSweepListener
from jaxecon.sweeps.sweep import sweep

EXPONENT = "preferences.disutility_exponent"
DESIGN = {
    "run": {
        "years": 3,
        "year": {"days": 6},
        "population": {"mechanical": 12, "llm": 0, "sampling": "random"},
        "satisfaction": {"judged": True},
        "schedule": {"brackets": "three"},
        "planner": {"kind": "in_context", "compared_with": ["us_federal"]},
        "record": {"agents": "none"},
    },
    "grid": {EXPONENT: [3.5, 0.5, 3.0]},
    "seeds": 4,
}
FAILING = range(4, 8)  # 0.5 is refused


def swept(folder, design=None, **given):
    return sweep(design or DESIGN, out=folder, **{"chunk_size": 3} | given)


class NoMemory(jax.errors.JaxRuntimeError):
    pass


NoMemory.__name__ = "JaxRuntimeError"


def assert_same(one, other):
    assert one.points.equals(other.points)
    assert one.years.equals(other.years)


class RecordingListener(SilentSweepListener):
    def __init__(self, stop_after=None):
        self.chunks, self.halves, self.began, self.notes, self._stop_after = (
            [],
            [],
            None,
            [],
            stop_after,
        )

    def on_note(self, line):
        self.notes.append(line)

    def on_begin(self, total, done):
        self.began = (total, done)

    def on_chunk(self, points, failed):
        self.chunks.append((points, failed))
        if len(self.chunks) == self._stop_after:
            raise KeyboardInterrupt

    def on_split(self, chunk, size):
        self.halves.append((chunk.size, size))


def sweep_command(path, out):
    return [sys.executable, "-m", "jaxecon", "sweep", str(path), "--out", str(out), "--chunk", "3"]
