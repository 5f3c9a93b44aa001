"""Chunks of a sweep on the machines of a Ray cluster; a chunk whose machine is lost is repeated."""

import math
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from jaxecon.core.errors import UserError, first_line
from jaxecon.sweeps.chunk import Chunk, ChunkTooLarge
from jaxecon.sweeps.rows import ChunkRows
from jaxecon.sweeps.run_point import SharedEngines
from jaxecon.sweeps.task import Task

RETRIES = 5  # of a chunk whose machine or process was lost
PATIENCE = 20.0  # seconds to wait for a cluster that is starting
_LAST_PORT = 65_535

_ASK = """
import sys
try:
    import ray
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level="CRITICAL")
except BaseException as error:
    print(" ".join(str(error).split())[:300] or type(error).__name__, flush=True)
    sys.exit(1)
"""


class RayExecutor:
    """An Executor on a Ray cluster.

    A chunk takes a GPU where the cluster has some, else all processors of a machine. This process
    alone writes the sweep's folder.

    Args:
        address: The cluster's host:port; by default RAY_ADDRESS, else the cluster that this machine
            belongs to, else a new one on this machine alone.
        cpus: Processors for a chunk; by default as many as the smallest machine has.

    Raises:
        UserError: Ray is not installed.
    """

    def __init__(self, address: str | None = None, cpus: float | None = None) -> None:
        try:
            import ray
        except ImportError:
            raise UserError(
                "--executor ray: needs the package ray; pip install 'jaxecon[ray]'"
            ) from None
        self._ray, self._address, self._cpus = ray, address, cpus
        self._own_connection = False  # whether to disconnect after the last chunk

    def connect(self) -> None:
        """Connect to the cluster. Raises UserError where none answers at the address."""
        if not self._ray.is_initialized():
            _connect(self._ray, self._address or os.environ.get("RAY_ADDRESS"))
            self._own_connection = True

    def run(
        self, task: Task, waiting: deque[Chunk]
    ) -> Iterator[tuple[Chunk, ChunkRows | ChunkTooLarge]]:
        """Simulate chunks, several at a time.

        A chunk whose process dies at every try counts as too large or, if it is a single run, as
        failed.
        """
        ray = self._ray
        self.connect()
        try:
            wanted = self._resources()
            simulate = ray.remote(_simulate).options(max_retries=RETRIES, **wanted)
            sent = ray.put(task)
            running: dict[Any, Chunk] = {}
            while waiting or running:
                while waiting and len(running) < self._room(wanted):
                    chunk = waiting.popleft()
                    running[simulate.remote(sent, chunk)] = chunk
                ready, _ = ray.wait(list(running), num_returns=1)
                chunk = running.pop(ready[0])
                yield chunk, self._result(task, chunk, ready[0])
        finally:
            if self._own_connection:
                ray.shutdown()
                self._own_connection = False

    def _result(self, task: Task, chunk: Chunk, reference: Any) -> ChunkRows | ChunkTooLarge:
        errors = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except (errors.WorkerCrashedError, errors.OutOfMemoryError, errors.NodeDiedError) as error:
            if chunk.size > 1:
                return ChunkTooLarge()
            return task.failed(
                chunk, f"lost {RETRIES + 1} times with its process ({type(error).__name__})"
            )

    def _resources(self) -> dict[str, float]:
        machines = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        if any(machine.get("GPU") for machine in machines):
            return {"num_gpus": 1, "num_cpus": 1}
        return {
            "num_cpus": self._cpus
            or min(machine["CPU"] for machine in machines if machine.get("CPU"))
        }

    def _room(self, wanted: dict[str, float]) -> int:
        """Chunks sent to the cluster at once: twice what it can simulate at a time."""
        have = self._ray.cluster_resources()
        fit = min(
            have.get({"num_gpus": "GPU", "num_cpus": "CPU"}[name], 0) / amount
            for name, amount in wanted.items()
        )
        return max(2, 2 * math.floor(fit))


def _connect(ray: Any, address: str | None) -> None:
    """Connect to a cluster.

    address: None for the cluster of this machine or, without one, a new one on it alone.

    Raises UserError where no cluster answers at the address.
    """
    settings = {"log_to_driver": False, "include_dashboard": False, "logging_level": "ERROR"}
    try:
        if address:
            _check_answers(address)
        ray.init(address=address or "auto", **settings)
    except (OSError, OverflowError, ValueError) as error:
        if address:
            raise UserError(
                f"--executor ray: no Ray cluster answers at {address} ({first_line(error)})"
            ) from None
        ray.init(address="local", **settings)


def _check_answers(address: str) -> None:
    """Check that a Ray cluster answers at host:port or ray://host:port.

    Another process asks, which can be ended: where something else than Ray listens, Ray waits for
    many minutes.

    Raises OSError or OverflowError where none answers.
    """
    parts = re.fullmatch(r"(?:ray://)?([^/]+):(\d+)", address)
    if parts is None:
        return  # a cluster of this machine, or no address at all: Ray says so at once
    deadline = time.monotonic() + PATIENCE
    _wait_for(parts[1].strip("[]"), int(parts[2]), deadline)
    asking = subprocess.Popen(
        [sys.executable, "-c", _ASK, address],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # so that what it starts ends with it
    )
    try:
        said, _ = asking.communicate(timeout=max(deadline - time.monotonic(), PATIENCE / 2))
    except subprocess.TimeoutExpired:
        raise ConnectionError("something listens, but not as a Ray cluster does") from None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(asking.pid, signal.SIGKILL)
        asking.communicate()
    if asking.returncode:
        reason = said.decode(errors="replace").strip()
        raise ConnectionError(reason or f"Ray ended with status {asking.returncode}")


def _wait_for(host: str, port: int, deadline: float) -> None:
    """Wait until something listens; Ray itself would wait for many minutes.

    Raises OSError where nothing does, and OverflowError for an impossible port.
    """
    if port > _LAST_PORT:
        raise OverflowError(f"a port is at most {_LAST_PORT}")
    while True:
        try:
            left = max(deadline - time.monotonic(), 1.0)
            socket.create_connection((host, port), timeout=left).close()
            return
        except OSError as error:
            unknown = isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME
            if unknown or time.monotonic() > deadline:
                raise
            time.sleep(1)


def _simulate(task: Task, chunk: Chunk) -> ChunkRows | ChunkTooLarge:
    """Simulate a chunk. Runs on a machine of the cluster."""
    from jaxecon.core.compilation import keep_compiled

    keep_compiled()
    with SharedEngines() as engines:
        return task.simulate(chunk, engines)
