"""One economy on several devices and in several processes, beside the same economy on one."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import jax
import numpy as np
import pytest
import yaml
from support.environment import QUICK_COMPILATION

import jaxecon as je
from jaxecon.config.read import load_config
from jaxecon.core import processes
from jaxecon.core.errors import UserError
from jaxecon.economy import devices as sharding
from jaxecon.storage.checkpoint_files import Position, newest, read_leaves, verified
from jaxecon.storage.parts import named_parts
from jaxecon.storage.paths import CHECKPOINTS

ROOT = Path(__file__).resolve().parents[2]
RULES = {"adaptive": 96, "altruistic": 32, "quantal": 160, "rational": 64}
CONFIG = {
    "years": 2,
    "year": {"days": 4},
    "schedule": {"brackets": "flat"},  # fewer to compile
    "planner": {"kind": "in_context", "compared_with": []},
    "population": {
        "cohorts": [
            {"name": f"the_{rule}", "rule": rule, "size": size} for rule, size in RULES.items()
        ]
    },
}


def python(*arguments, devices, out=subprocess.PIPE, **environment):
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("JAX_", "SLURM_", "OMPI_"))
    }
    flags = f"--xla_force_host_platform_device_count={devices} {QUICK_COMPILATION}"
    ours = {"XLA_FLAGS": flags, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-W", "error", *map(str, arguments)]
    return subprocess.Popen(
        command, env=kept | ours | environment, cwd=ROOT, stdout=out, stderr=out, text=True
    )


def in_two(*arguments, devices=2, only=(0, 1), **environment):
    """The same in two processes that may join; only some of them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    meeting = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"} | environment
    return [python(*arguments, devices=devices, JAX_PROCESS_ID=str(i), **meeting) for i in only]


def ended(*processes, seconds=120):
    try:
        return [
            (*process.communicate(timeout=seconds), process.returncode) for process in processes
        ]
    finally:
        for process in processes:
            process.kill()


def columns(table):
    return {
        name: table[name].to_numpy()
        for name in table.column_names
        if name not in ("seconds", "leader")
    }


def same(one, other, years=2):
    """Of equal draws, and otherwise to the rounding of sums in float32."""
    for table in ("years", "agents"):
        a, b = (columns(getattr(run, table)) for run in (one, other))
        assert a.keys() == b.keys()
        rows = [x["year"] < years for x in (a, b)]
        for name in a:
            x, y = a[name][rows[0]], b[name][rows[1]]
            if x.dtype.kind != "f":
                np.testing.assert_array_equal(x, y, err_msg=name)
            elif name.startswith("gain_"):  # differences of welfare over its size
                np.testing.assert_allclose(x, y, rtol=0, atol=2e-6, err_msg=name)
            else:
                # small differences of large amounts: $/year, h/week
                rounding = 0.02 if name == "utility" else 1e-4 if "spread_" in name else 0
                np.testing.assert_allclose(x, y, rtol=3e-6, atol=rounding, err_msg=name)
            if name == "hours":
                quantal = a["cohort"][rows[0]] == "the_quantal"
                assert quantal.sum() == years * RULES["quantal"]
                np.testing.assert_array_equal(x[quantal], y[quantal])
                assert len(np.unique(x[quantal])) > 5


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Of compiled programs, for processes that run the same."""
    folder = str(tmp_path_factory.mktemp("cache"))
    return {
        "JAX_COMPILATION_CACHE_DIR": folder,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    }


EIGHT = """
    import json, shutil, sys
    from dataclasses import replace
    from pathlib import Path
    import jax
    import numpy as np
    import jaxecon as je
    from jaxecon.config import load_config
    from jaxecon.economy.build import build_economy
    from jaxecon.simulation import programs
    from jaxecon.simulation.loop import Simulation
    from jaxecon.simulation.prepare import assemble_run
    from jaxecon.storage.checkpoint_files import Position

    given, folder = json.loads(sys.argv[1]), Path(sys.argv[2])
    assert len(jax.devices()) == 8
    je.run(given, out=folder / "one")
    je.run(given, overrides=["devices=all", "years=1"], out=folder / "eight")
    je.run(given, overrides=["planner.kind=fixed"], out=folder / "fixed")
    told = {}
    for devices in (8, 2, 1):
        path = shutil.copytree(folder / "eight", folder / f"resumed-{devices}")
        overrides = [f"devices={devices}", "years=2"]
        tell = lambda how: told.update({devices: how.inexact})
        je.resume(path, overrides=overrides, force=True, tell=tell)

    resolved = load_config(given, ["devices=8"])
    prepared = assemble_run(resolved, folder / "none")
    sim = Simulation(resolved, prepared.economy, prepared.schedule, prepared.planner)
    sim.run(Position(0, 4))
    layout, economy, state, sums = sim._layout, sim.economy, sim.state.economy, sim.state.sums
    _, plan, _ = programs.start_year(layout, economy, state, prepared.schedule, 4)
    days = programs.simulate_days.lower(layout, economy, plan, state, sums, 4).compile()
    asked = build_economy(load_config(given, ["satisfaction.judged=true"]))
    judging = replace(economy, judgement=jax.device_get(asked.judgement))
    judge = programs.judge.lower(layout, judging, state, sums, {}).compile()
    judged = judge(judging, state, sums, {})
    trees = {"economy": economy, "state": state, "plan": plan, "sums": sums, "judged": judged}
    leaves = {
        jax.tree_util.keystr(path): [x.shape, x.sharding.shard_shape(x.shape)]
        for path, x in jax.tree.leaves_with_path(trees)
    }
    texts = {"days": days.as_text(), "judge": judge.as_text()}
    print(json.dumps({"told": told, "leaves": leaves, **texts}))
"""


@pytest.fixture(scope="module")
def eight(tmp_path_factory, cache):
    """What a process with eight devices did with one of them and with all, resumed with all, two
    and one, and how it lay.
    """
    folder = tmp_path_factory.mktemp("eight")
    ((out, err, status),) = ended(
        python("-c", textwrap.dedent(EIGHT), json.dumps(CONFIG), folder, devices=8, **cache),
        seconds=300,
    )
    assert status == 0, err
    return folder, json.loads(out.splitlines()[-1])


@pytest.mark.parametrize("devices", [8, 2, 1])
def test_eight_devices_are_one(eight, devices):
    """And a checkpoint that eight wrote is gone on with by any number."""
    folder, found = eight
    resumed = je.load(folder / f"resumed-{devices}")
    same(je.load(folder / "one"), resumed)
    changed = (
        [f"economy_on: 8 devices -> {devices} device{'s' * (devices > 1)}"] if devices != 8 else []
    )
    assert found["told"][str(devices)] == changed


def test_every_agent_lies_on_one_device(eight):
    _, found = eight
    sizes = {f"the_{rule}": size for rule, size in RULES.items()}
    whole = []
    for name, (shape, part) in found["leaves"].items():
        cohort = next((c for c in sizes if f"['{c}']" in name), None)
        size = sizes.get(cohort, sum(sizes.values()))
        if size in shape:
            assert part == [n // 8 if n == size else n for n in shape], name
        else:
            whole.append(name)
            assert shape == part, name
    assert "['state'].rebate" in whole
    told = "\n".join(found["leaves"].keys() - set(whole))
    for there in (
        "['state'].rules['the_adaptive']",
        ".rules['the_quantal'].cumulated",
        "['sums'].tax['the_rational']",
        ".satisfied",
    ):
        assert there in told


@pytest.mark.parametrize("program", ["days", "judge"])
def test_no_device_sees_all_agents(eight, program):
    """Nor draws for them: nothing in the day's program for one device is as long as a cohort; sums
    are collectives.
    """
    _, found = eight
    text = found[program]
    lengths = {int(n) for shape in re.findall(r"\w+\[([\d,]+)\]", text) for n in shape.split(",")}
    assert not lengths & {*RULES.values(), sum(RULES.values())}
    assert {size // 8 for size in RULES.values()} <= lengths
    assert "all-gather" not in text
    assert f"u32[{RULES['quantal'] // 8}]" in text  # its draws
    assert ("all-reduce" in text) == (program == "days")


def wait_for_years(processes, folder, years):
    """Wait until so many years are recorded."""
    until = time.monotonic() + 120
    while last_year(folder) + 1 < years:
        assert time.monotonic() < until
        assert [p.poll() for p in processes] == [None, None], ended(*processes)
        time.sleep(0.1)


def last_year(folder):
    found = named_parts(folder / "years.parquet")
    return found[-1].last if found else -1


def said(err):
    """Without what Gloo and JAX's services say."""
    return [
        line for line in err.splitlines() if line and not re.match(r"\[Gloo\]|[EWF]\d{4} ", line)
    ]


def test_two_processes_are_one(eight, tmp_path, cache):
    """Until one of them gets a signal; and when one is killed, the other says so and ends."""
    out, written = tmp_path / "run", tmp_path / "config.yaml"
    more = {"years": 100_000, "devices": "all", "checkpoint": {"every_years": 1, "keep_last": 1000}}
    written.write_text(
        yaml.safe_dump(CONFIG | more | {"planner": CONFIG["planner"] | {"kind": "fixed"}})
    )
    pair = in_two("-m", "jaxecon", "run", written, "--out", out, "--join-processes", **cache)
    wait_for_years(pair, out, 2)
    pair[1].send_signal(signal.SIGTERM)
    results = ended(*pair)
    assert [status for _, _, status in results] == [143, 143], results
    assert [stdout for stdout, _, _ in results] == ["", ""]
    assert all(
        said(err)[-1] == f"jaxecon: interrupted; continue with: jaxecon resume {out}"
        for _, err, _ in results
    )
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["status"], manifest["hardware"]["economy_on"]) == (
        "interrupted",
        "4 devices of 2 processes",
    )
    alone = je.load(eight[0] / "fixed")
    same(alone, je.load(out))
    states = [
        read_leaves(verified(folder / CHECKPOINTS / Position(2, 0).name))
        for folder in (alone.path, out)
    ]
    assert states[0].keys() == states[1].keys()
    assert states[1].pop("observation.years") == more["years"]
    states[0].pop("observation.years")
    assert states[0]["economy.rules.the_adaptive"].shape == (RULES["adaptive"], 11)
    for name, leaf in states[0].items():
        np.testing.assert_allclose(leaf, states[1][name], rtol=1e-5, atol=2e-5, err_msg=name)

    checkpoint, damaged = newest(out / CHECKPOINTS)
    assert damaged == []
    assert checkpoint.position.year >= 2
    pair = in_two("-m", "jaxecon", "resume", out, "--join-processes", **cache)
    wait_for_years(pair, out, checkpoint.position.year + 2)
    pair[1].kill()
    killed = time.monotonic()
    (_, err, status), _ = ended(*pair)
    assert time.monotonic() - killed < 20  # JAX itself would need a minute or more
    assert f"resuming from {checkpoint.position}" in said(err)
    assert said(err)[-1] == processes.GONE
    assert status == 3


TOGETHER = """
    import sys
    from pathlib import Path
    from jaxecon.config import load_config
    from jaxecon.core import processes
    from jaxecon.simulation.prepare import prepare
    from jaxecon.simulation.replay import replay
    from jaxecon.core.errors import UserError

    processes.join_run(60)

    def tried(what, *arguments):
        try:
            print("did", what(*arguments))
        except (UserError, ZeroDivisionError) as error:
            print(error)

    folder, me = Path(sys.argv[1]), int(not processes.is_main_process())
    mechanical = {"population": {"llm": 0, "mechanical": 32}}
    tried(prepare, load_config(mechanical), folder / "new")
    tried(prepare, load_config(mechanical, ["devices=5"]), folder / "new")
    simulated = {"devices": "all", "llm": {"engine": "simulated"}}
    tried(prepare, load_config(simulated), folder / "new")
    everywhere = load_config(mechanical, ["devices=all"])
    tried(prepare, everywhere, folder if me else folder / "new")
    tried(replay, folder)
    tried(processes.run_together, lambda: 1 / me)
    tried(processes.broadcast_from_main, f"process {me}")
    tried(lambda: processes.gather(me, 7).tolist())
    sys.stdout.flush()
    if me:
        raise KeyError("nobody thought of it")
    processes.gather(0)
"""


def test_what_one_of_two_processes_meets_with_both_hear(tmp_path, cache):
    (tmp_path / "something").touch()
    results = ended(*in_two("-c", textwrap.dedent(TOGETHER), tmp_path, **cache))
    expected = [
        "devices: 1; 2 processes use all that they have: give 4, or all",
        "devices: 5; JAX finds 4 devices: give 1 to 4, or all",
        "--join-processes: language models work in one process; set population.llm=0, or "
        "run it in one process",
        f"--out: {tmp_path}: is not empty; give a new folder",
        "replay: works in one process, not in 2",
    ]
    for me, (out, err, status) in enumerate(results):
        lines = [line for line in out.splitlines() if not line.startswith("[Gloo]")]
        assert lines[:5] == expected, err
        assert lines[5:] == ["division by zero", "did process 0", "did [[0, 7], [1, 7]]"]
        assert status == (1 if me else 3)
        assert said(err)[-1] == ("KeyError: 'nobody thought of it'" if me else processes.GONE)


@pytest.mark.parametrize("me", [0, 1])
def test_others_who_never_come(tmp_path, me):
    process = in_two(
        "-m",
        "jaxecon",
        "run",
        "--out",
        tmp_path / "run",
        "--join-processes",
        "--join-seconds",
        "2",
        only=[me],
    )
    ((_, err, status),) = ended(*process, seconds=60)
    assert re.search(
        r"jaxecon: --join-processes: 2 processes did not all come together at 127.0.0.1:\d+ "
        r"within 2 s",
        said(err)[-1],
    )
    assert status == 2
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "--join-processes: nothing says where the other processes are"),
        (
            {"JAX_COORDINATOR_ADDRESS": "a:1"},
            "--join-processes: JAX_NUM_PROCESSES and JAX_PROCESS_ID not set",
        ),
        (("a", "2", "0"), "JAX_COORDINATOR_ADDRESS: 'a'; the first process's host:port"),
        (("a:1", "two", "0"), "JAX_NUM_PROCESSES: 'two'; a whole number"),
        (("a:1", "2", "2"), "JAX_PROCESS_ID: 2; 0 to 1, with JAX_NUM_PROCESSES=2"),
    ],
)
def test_an_environment_that_does_not_say(tmp_path, environment, message):
    if isinstance(environment, tuple):
        environment = dict(
            zip(
                (processes.COORDINATOR, processes.PROCESSES, processes.PROCESS),
                environment,
                strict=True,
            )
        )
    ((out, err, status),) = ended(
        python("-m", "jaxecon", "run", "--join-processes", devices=1, **environment), seconds=60
    )
    assert (out, status, err.count("\n")) == ("", 2, 1)
    assert err.startswith(f"jaxecon: {message}")


@pytest.mark.parametrize("on", ["127.0.0.1", "0.0.0.0"])
def test_a_port_that_is_taken(tmp_path, on):
    with socket.create_server((on, 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        environment = dict(
            zip(
                (processes.COORDINATOR, processes.PROCESSES, processes.PROCESS),
                (address, "2", "0"),
                strict=True,
            )
        )
        process = python(
            "-m",
            "jaxecon",
            "run",
            "--out",
            tmp_path / "run",
            "--join-processes",
            devices=1,
            **environment,
        )
        ((out, err, status),) = ended(process, seconds=60)
    assert (out, status, err.count("\n")) == ("", 2, 1)
    assert re.fullmatch(
        f"jaxecon: --join-processes: cannot listen at {address} \\(.*in use.*\\); take another "
        "port",
        err.strip(),
    )


def test_what_jax_cannot_listen_at(monkeypatch):
    def fails(*given, **more):
        raise RuntimeError("UNKNOWN: Failed to start RPC server")

    for name, value in (
        (processes.COORDINATOR, "127.0.0.1:34567"),
        (processes.PROCESSES, "2"),
        (processes.PROCESS, "0"),
    ):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("JAX_COORDINATOR_BIND_ADDRESS", "127.0.0.1:34567")
    monkeypatch.setattr(jax.distributed, "initialize", fails)
    monkeypatch.setattr(jax.config, "update", lambda *given: None)
    with pytest.raises(
        UserError,
        match=r"cannot listen at 127.0.0.1:34567 \(UNKNOWN: Failed to start RPC server\); take "
        r"another",
    ):
        processes.join_run(5)


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "some", "null"])
def test_numbers_of_devices_that_are_none(value):
    with pytest.raises(UserError, match=r"^devices: .*all or a whole number of at least 1$"):
        load_config({}, [f"devices={value}"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"devices": 9}, "devices: 9; JAX finds 8 devices: give 1 to 8, or all"),
        (
            {"devices": 9, "device": "cpu"},
            "devices: 9; JAX finds 8 CPU devices: give 1 to 8, or all",
        ),
        (
            {"devices": "all", "population": {"mechanical": 40, "llm": 3}},
            "devices: 8; cohort adaptive has 20 agents, which is no multiple of 8: give it 24, or "
            "other devices",
        ),
        (
            {"devices": 2, "population": {"mechanical": 0, "llm": 4}},
            "devices: 2; only mechanical cohorts are spread over devices, and there is none: give "
            "1",
        ),
    ],
)
def test_devices_that_do_not_fit(monkeypatch, settings, message):
    monkeypatch.setattr(jax, "devices", lambda backend=None: jax.local_devices(backend=backend) * 8)
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        sharding.layout_for(load_config(settings))


def test_one_device_needs_no_layout():
    assert sharding.layout_for(load_config({"devices": "all"})) is None
    assert sharding.layout_for(load_config({"devices": 1, "device": "cpu"})) is None
    ((_, err, status),) = ended(python("-m", "jaxecon", "run", "--set", "devices=2", devices=1))
    assert (err, status) == ("jaxecon: devices: 2; JAX finds 1 devices: give 1, or all\n", 2)
