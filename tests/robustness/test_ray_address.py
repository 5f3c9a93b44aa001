"""Addresses at which no Ray cluster answers: one line within seconds, whatever is there."""

import socket
import sys
import time

import psutil
import pytest

from jaxecon.core.errors import UserError
from jaxecon.sweeps import ray_executor

HANGS = "import sys, time; print(1, flush=True); time.sleep(600)"
FAILS = "print('the version is another one'); raise SystemExit(1)"
DIES = "import os; os.abort()"
ANSWERS = "pass"


class Ray:
    """Ray's module: it notes where it connects to."""

    def __init__(self):
        self.connected = []

    def is_initialized(self):
        return False

    def init(self, address, **settings):
        self.connected.append(address)


@pytest.fixture
def ray(monkeypatch):
    module = Ray()
    monkeypatch.setitem(sys.modules, "ray", module)
    monkeypatch.setattr(ray_executor, "PATIENCE", 1.0)
    return module


@pytest.fixture
def port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("scheme", ["", "ray://"])
@pytest.mark.parametrize(
    ("asking", "reason"),
    [
        (HANGS, "something listens, but not as a Ray cluster does"),
        (FAILS, "the version is another one"),
        (DIES, "Ray ended with status -6"),
    ],
)
def test_what_listens_is_no_cluster(ray, port, monkeypatch, scheme, asking, reason):
    monkeypatch.setattr(ray_executor, "_ASK", asking)
    address, begun = f"{scheme}127.0.0.1:{port}", time.monotonic()
    with pytest.raises(UserError) as refused:
        ray_executor.RayExecutor(address).connect()
    assert str(refused.value) == f"--executor ray: no Ray cluster answers at {address} ({reason})"
    assert ray.connected == []
    assert time.monotonic() - begun < 20
    children = psutil.Process().children()
    running = [c for c in children if c.status() != psutil.STATUS_ZOMBIE]
    assert not [c for c in running if asking in c.cmdline()], "the process that asked is there"


def test_a_cluster_that_answers(ray, port, monkeypatch):
    monkeypatch.setattr(ray_executor, "_ASK", ANSWERS)
    ray_executor.RayExecutor(f"127.0.0.1:{port}").connect()
    assert ray.connected == [f"127.0.0.1:{port}"]


@pytest.mark.parametrize("address", ["127.0.0.1:70000", "no-such-host.invalid:6379", "[::1]:1"])
@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_nobody_can_be_there(ray, monkeypatch, scheme, address):
    monkeypatch.setattr(ray_executor, "_ASK", HANGS)
    with pytest.raises(UserError, match=r"^--executor ray: no Ray cluster answers at .* \(.+\)$"):
        ray_executor.RayExecutor(scheme + address).connect()
    assert ray.connected == []
