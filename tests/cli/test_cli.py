"""The command line as a user meets it: real processes."""

import json
import os
import resource
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

SMALL = [
    *(
        "--set",
        "population.mechanical=40",
        "--set",
        "population.llm=0",
        "--set",
        "years=2",
        "--set",
        "year.days=3",
    ),
    *("--set", "planner.compared_with=[us_federal]"),
]


def jaxecon(*arguments, cwd, env=None):
    return subprocess.run(
        [sys.executable, "-m", "jaxecon", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **(env or {})},
    )


def assert_users_mistake(done, message):
    assert done.returncode == 2, done
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1


def best_time(*command):
    """Seconds of processor time, which a busy machine does not lengthen as it does the time that
    passes.
    """

    def spent():
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    def once():
        before = spent()
        subprocess.run(command, check=True, capture_output=True)
        return spent() - before

    return min(once() for _ in range(5))


def test_help_is_instant():
    script = Path(sys.executable).with_name("jaxecon")
    assert best_time(str(script), "--help") < 0.4


def test_import_is_lazy():
    assert best_time(sys.executable, "-c", "import jaxecon") < 0.3
    code = (
        "import jaxecon, sys; assert 'jax' not in sys.modules; "
        "jaxecon.HOURS; assert 'jax' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_mechanical_run_needs_no_vllm(tmp_path):
    """Exit 0, a table, a run directory, and neither vllm nor the bridge imported."""
    code = textwrap.dedent("""
        import sys
        from jaxecon.cli.app import app
        app(sys.argv[1:], standalone_mode=False)
        assert not {"vllm", "torch", "llm"} & set(sys.modules), "imported"
    """)
    done = subprocess.run(
        [sys.executable, "-c", code, "run", *SMALL, "--out", tmp_path / "run"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    for expected in ("US federal", "planner", "Run directory", "effective sample"):
        assert expected in done.stdout
    assert {p.name for p in (tmp_path / "run").iterdir()} == {
        *("agents.parquet", "years.parquet", "parts.jsonl"),
        *("checkpoints", "config.yaml", "manifest.json"),
    }


def test_json_summary(tmp_path):
    done = jaxecon(
        "run",
        *SMALL,
        "--set",
        "planner.compared_with=[flat, saez]",
        "--seed",
        3,
        "--json",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert [row["policy"] for row in summary["policies"]] == ["flat", "saez", "final"]
    manifest = json.loads((tmp_path / summary["run"] / "manifest.json").read_text())
    assert manifest["seed"] == 3
    assert summary["run"].startswith("runs/")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "yeers=3"], "jaxecon: yeers: no such setting; did you mean 'years'?"),
        (
            ["--set", "schedule.rates=2"],
            "schedule.rates: 2; a number or a list of numbers in [0, 1] or unset",
        ),
        (["--set", "population.llm=0", "--set", "population.mechanical=0"], "population: 0 agents"),
        (["nowhere.yaml"], "configuration: nowhere.yaml: No such file or directory"),
        (["--set", "llm.model=smolm2"], "smollm2"),
        (["--set", "llm.model=./nothing-here"], "nothing-here"),
        (
            ["--set", "schedule.brackets=[0,100000000,100000001]", "--set", "population.llm=0"],
            "schedule.brackets: [0.0, 100000000.0,",
        ),
        (
            ["--set", "population.cohorts=[{name: a, rule: 'no_such:Rule', size: 2}]"],
            "no_such cannot be imported",
        ),
        (
            ["--set", "population.skills=file", "--set", "population.file=no.csv"],
            "population.file: no.csv: no such file",
        ),
        (["--set", "llm.model=nobody/nothing"], "nobody/nothing"),
        (
            ["--set", "planner.kind=lmm", "--set", "population.llm=0"],
            "planner.kind: 'lmm'; one of auto, fixed, in_context, llm",
        ),
    ],
)
def test_mistakes(tmp_path, arguments, message):
    done = jaxecon("run", *arguments, "--out", tmp_path / "run", cwd=tmp_path)
    assert_users_mistake(done, message)
    assert not (tmp_path / "run").exists()


def test_missing_model_names_the_command(tmp_path):
    done = jaxecon(
        "run",
        "--out",
        tmp_path / "run",
        cwd=tmp_path,
        env={"JAXECON_MODELS": str(tmp_path / "store")},
    )
    assert_users_mistake(done, "jaxecon models pull smollm2")


def test_out_that_holds_a_run(tmp_path):
    assert jaxecon("run", *SMALL, "--out", "run", cwd=tmp_path).returncode == 0
    assert_users_mistake(
        jaxecon("run", *SMALL, "--out", "run", cwd=tmp_path),
        "--out: run: already holds a run; give a new folder",
    )


def test_out_that_is_a_file_or_not_empty(tmp_path):
    (tmp_path / "file").write_text("mine")
    assert_users_mistake(
        jaxecon("run", *SMALL, "--out", "file", cwd=tmp_path), "--out: file: is a file"
    )
    assert_users_mistake(jaxecon("run", *SMALL, "--out", ".", cwd=tmp_path), "is not empty")
    assert (tmp_path / "file").read_text() == "mine"


def test_out_that_cannot_be_written(tmp_path):
    """Below a file, which not even root can write into."""
    (tmp_path / "file").write_text("mine")
    assert_users_mistake(
        jaxecon("run", *SMALL, "--out", "file/run", cwd=tmp_path),
        "--out: file/run: is not a folder that can be written",
    )
    assert_users_mistake(
        jaxecon("run", *SMALL, "--out", "/proc/run", cwd=tmp_path), "--out: /proc/run:"
    )


def test_foreign_llm_module_is_named(tmp_path):
    """A package `llm` of somebody else, found first, as a user's environment may have it."""
    (tmp_path / "llm").mkdir()
    (tmp_path / "llm" / "__init__.py").write_text("")
    done = jaxecon(
        "run", "--out", tmp_path / "run", cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}
    )
    assert_users_mistake(
        done,
        f"llm: the module that Python finds at {tmp_path / 'llm' / '__init__.py'} is not jaxecon's",
    )
    done = jaxecon("models", "list", cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)})
    assert_users_mistake(done, "is not jaxecon's")


def test_doctor(tmp_path):
    done = jaxecon("doctor", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert {"python", "jax", "jaxlib"} <= set(report["versions"])
    assert report["hardware"]["devices"]
    assert set(report["engines"]) == {"vllm"}
    empty = jaxecon("doctor", cwd=tmp_path, env={"JAXECON_MODELS": str(tmp_path / "store")})
    assert "jaxecon models pull smollm2" in empty.stdout


def test_interrupt_is_recorded(tmp_path):
    """Ctrl-C in the middle: exit status 130, one line, whole years on disk, a manifest that says
    so.
    """
    import signal

    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "jaxecon",
            "run",
            *SMALL,
            "--set",
            "years=1000000",
            "--out",
            str(tmp_path / "run"),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not list((tmp_path / "run").glob("years.parquet/part-0000000[1-9].parquet")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "jaxecon: interrupted" in errors
    assert "Traceback" not in errors
    import jaxecon as je

    run = je.load(tmp_path / "run")
    assert run.manifest["status"] == "interrupted"
    assert run.years["year"].to_pylist() == list(range(run.years.num_rows))


def test_out_of_memory_is_one_line(tmp_path):
    """A real one: more agents than the process may have memory for."""
    code = textwrap.dedent("""
        import resource
        few = 4 * 2**30  # bytes of addresses: enough to start JAX, not for 100 million agents
        resource.setrlimit(resource.RLIMIT_AS, (few, few))
        from jaxecon.cli.app import main
        main()
    """)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            "run",
            *SMALL,
            "--set",
            "population.mechanical=100000000",
            "--out",
            tmp_path / "run",
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 3, done.stderr
    assert "jaxecon: out of memory: lower population.mechanical" in done.stderr
    assert "Traceback" not in done.stderr


def test_only_what_is_out_of_memory_is_called_so(capsys):
    """The words of a GPU and of a CPU, in the exception that JAX raises; its other errors keep
    their traceback.
    """
    from jax.errors import JaxRuntimeError

    from jaxecon.cli.errors import ENGINE_FAILED, one_line_errors

    for error in (
        JaxRuntimeError(
            "RESOURCE_EXHAUSTED: Failed to allocate request for 1.50GiB on device ordinal 0"
        ),
        JaxRuntimeError(
            "INTERNAL: Error dispatching computation: Out of memory allocating 2880000160 bytes."
        ),
        MemoryError(),
    ):
        with pytest.raises(SystemExit) as ended, one_line_errors():
            raise error
        assert ended.value.code == ENGINE_FAILED
        said = capsys.readouterr().err
        assert said.startswith("jaxecon: out of memory: ")
        assert said.count("\n") == 1
        assert all(
            setting in said
            for setting in ("record.agents=sample", "llm.gpu_memory_share", "device=cpu")
        )
    for error in (JaxRuntimeError("INTERNAL: something else"), RuntimeError("RESOURCE_EXHAUSTED")):
        with pytest.raises(type(error)), one_line_errors():
            raise error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["run", "--sed", "3"],
            "jaxecon: No such option: --sed (Possible options: --seed, --set) (see ",
        ),
        (["run", "--seed", "x"], "Invalid value for '--seed': "),
        (["run", "a.yaml", "b.yaml"], "unexpected extra argument(s) (b.yaml) (see "),
        (["resume"], "Missing argument 'RUN'"),
        (["optimum", "--method", "guess"], "'guess' is not one of"),
        (["branch", "x", "--year", "1"], "Missing option '--out'"),
        (["replay", "x", "--out"], "Option '--out' requires an argument"),
        (["models", "pull"], "Missing argument"),
        (["models", "push"], "No such command 'push'"),
        (["rum"], "No such command 'rum'"),
        (["--loud"], "No such option: --loud"),
    ],
)
def test_mistakes_in_options_are_one_line_too(tmp_path, arguments, message):
    done = jaxecon(*arguments, cwd=tmp_path)
    assert_users_mistake(done, message)
    assert done.stderr.startswith("jaxecon: ")


@pytest.mark.parametrize(
    ("command", "old", "new"),
    [
        (["run"], "--join-hosts", "--join-processes"),
        (["resume", "x"], "--join-hosts", "--join-processes"),
        (["sweep", "x.yaml", "--summary"], "--figures", "--statistics"),
    ],
)
def test_an_option_that_was_renamed_names_the_new_one(tmp_path, command, old, new):
    done = jaxecon(*command, old, cwd=tmp_path)
    assert_users_mistake(done, f"jaxecon: {old}: is now called {new}")


def test_an_option_that_another_command_renamed_is_unknown(tmp_path):
    done = jaxecon("optimum", "--figures", cwd=tmp_path)
    assert_users_mistake(done, "No such option: --figures")
    assert "--statistics" not in done.stderr


@pytest.mark.parametrize(
    "arguments", [[], ["models"], ["--help"], ["run", "--help"], ["models", "pull", "--help"]]
)
def test_help_stays_help(tmp_path, arguments):
    done = jaxecon(*arguments, cwd=tmp_path)
    assert "Usage: " in done.stdout + done.stderr
    assert len((done.stdout + done.stderr).splitlines()) > 5
    assert done.returncode == (0 if "--help" in arguments else 2)


def test_version():
    done = subprocess.run(
        [sys.executable, "-m", "jaxecon", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("jaxecon 0.")
