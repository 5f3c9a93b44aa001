"""Sweeps on a Ray cluster."""

import os
import socket
import subprocess
import sys

import pytest
import yaml
from support.sweeps import DESIGN, assert_same, swept

from jaxecon.core.errors import UserError
from jaxecon.sweeps.results import Sweep
from jaxecon.sweeps.sweep import sweep


def test_two_machines_of_a_cluster_one_of_which_is_lost(whole, tmp_path):
    pytest.importorskip("ray", reason="the extra ray is not installed")
    script = os.path.join(os.path.dirname(__file__), "ray_cluster.py")
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(DESIGN | {"seeds": 8}, sort_keys=False))
    done = subprocess.run(
        [sys.executable, script, str(tmp_path / "sweep.yaml"), str(tmp_path / "ray")],
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "a machine is lost" in done.stdout
    assert_same(Sweep(tmp_path / "ray"), swept(tmp_path / "local", DESIGN | {"seeds": 8}))


class NoCluster:
    """Ray's module where no cluster answers; one on this machine can be begun."""

    def __init__(self, error):
        self.asked, self._error = [], error

    def is_initialized(self):
        return False

    def init(self, address, **settings):
        self.asked.append(address)
        if address != "local":
            raise self._error


@pytest.mark.parametrize(
    "error", [ConnectionError("nobody\nthere"), ValueError("Invalid address format: foo")]
)
@pytest.mark.parametrize("by", ["argument", "environment", None])
def test_a_cluster_that_does_not_answer(tmp_path, monkeypatch, by, error):
    """The one that was named; there is no other that would be meant."""
    from jaxecon.sweeps.ray_executor import RayExecutor

    ray = NoCluster(error)
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if by == "environment":
        monkeypatch.setenv("RAY_ADDRESS", "foo")
    executor = RayExecutor("foo" if by == "argument" else None)
    if by is None:
        executor.connect()
        assert ray.asked == ["auto", "local"]
        return
    with pytest.raises(
        UserError,
        match=r"^--executor ray: no Ray cluster answers at foo \((nobody|Invalid address.*)\)$",
    ):
        swept(tmp_path / "a", executor=executor)
    assert ray.asked == ["foo"]
    assert not (tmp_path / "a").exists()


def test_nothing_listens_where_a_cluster_should(monkeypatch):
    """Ray alone would try for many minutes."""
    from jaxecon.sweeps import ray_executor

    ray = NoCluster(AssertionError())
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(ray_executor, "PATIENCE", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        ray_executor._wait_for("127.0.0.1", port, 0.0)
    address = f"127.0.0.1:{port}"
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UserError, match=rf"no Ray cluster answers at {address} \(.*refused"):
        ray_executor.RayExecutor().connect()
    assert ray.asked == []


def test_without_ray(monkeypatch):
    from jaxecon.sweeps.ray_executor import RayExecutor

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"needs the package ray; pip install 'jaxecon\[ray\]'"):
        RayExecutor()


def test_language_models_stay_on_one_machine(tmp_path):
    class Elsewhere:
        def connect(self):
            raise AssertionError

        def run(self, task, waiting):
            raise AssertionError

    run = {"population": {"mechanical": 4, "llm": 2}, "llm": {"engine": "simulated"}}
    with pytest.raises(UserError, match="--executor: points with language models need local"):
        sweep({"run": run, "seeds": 2}, out=tmp_path / "a", executor=Elsewhere())
