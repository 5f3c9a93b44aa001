"""Environment variables and limits that would break a command's libraries."""

import itertools
import os
import resource
import sys
import threading
from pathlib import Path

import jax
import numpy as np
import pytest
from support.commands import command, ended, started
from support.server_process import free_port

import jaxecon as je
from jaxecon.cli.errors import one_line_errors
from jaxecon.core import environment
from jaxecon.core.draws import named_key
from jaxecon.core.errors import EngineError, UserError
from llm.engines.models.resolve import resolve
from llm.engines.openai import probing
from llm.engines.openai.address import check_openai
from llm.engines.openai.engine import OpenAIEngine
from llm.engines.openai.failure import RequestFailure
from llm.engines.openai.network import http_client, is_this_machine, proxy_to
from llm.engines.openai.server import Server

DEVICES = """if True:
    from jaxecon.cli.errors import one_line_errors
    with one_line_errors():
        import jax
        jax.devices()
"""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JAX_PLATFORMS", "cuda"),
        ("JAX_PLATFORMS", "nonsense"),
        ("JAX_PLATFORM_NAME", "nonsense"),
        ("JAX_ENABLE_X64", "perhaps"),
        ("JAX_NUM_CPU_DEVICES", "many"),
        ("JAX_LOGGING_LEVEL", "loud"),
    ],
)
def test_what_jax_cannot_use_is_one_line_with_its_variable(name, value):
    status, out, errors = ended(started("-c", DEVICES, **{name: value}))
    if status == 0:
        pytest.skip(f"{name}={value} works on this machine")
    lines = [line for line in errors.splitlines() if line.startswith("jaxecon: ")]
    assert (status, out, len(lines)) == (2, "", 1), errors
    assert lines[0].startswith(f"jaxecon: {name}: {value!r}: ")
    assert "Traceback" not in errors


def test_a_variable_is_not_blamed_for_other_errors(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setenv("JAX_DEBUG_NANS", "0")
    errors = (RuntimeError("JAX_PLATFORMS"), ValueError("jax"), FloatingPointError("nan"))
    for error in (*errors, AssertionError()):
        with pytest.raises(type(error)), one_line_errors():
            raise error


def test_a_switch_that_forbids_nan(monkeypatch):
    monkeypatch.setenv("JAX_DEBUG_NANS", "1")
    line = environment.jax_mistake(FloatingPointError("invalid value (nan) encountered in solve"))
    assert str(line).startswith("JAX_DEBUG_NANS: '1'; ")


@pytest.mark.parametrize(
    "flags", ["--xla_no_such_flag", "nonsense", "--xla_cpu_enable_fast_math=perhaps"]
)
def test_flags_at_which_xla_aborts(monkeypatch, flags):
    monkeypatch.delitem(sys.modules, "jax", raising=False)
    monkeypatch.setenv("XLA_FLAGS", flags)
    with pytest.raises(UserError) as refused:
        environment.check_xla_flags()
    assert str(refused.value).startswith(f"XLA_FLAGS: {flags!r}: ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *itertools.product(
            ("JAX_NO_TRACING", "JAX_NO_EXECUTION", "JAX_SCAN3"), ("1", "True", "yes")
        ),
        ("JAX_DISABLE_JIT", "1"),
        ("JAX_DISABLE_MOST_OPTIMIZATIONS", "on"),
        ("JAX_ERROR_CHECKING_BEHAVIOR_NAN", "raise"),
        ("JAX_ERROR_CHECKING_BEHAVIOR_DIVIDE", "raise"),
        ("JAX_ERROR_CHECKING_BEHAVIOR_OOB", "raise"),
    ],
)
def test_switches_with_which_nothing_works(monkeypatch, name, value):
    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=f"^{name}: '{value}'; a run .*; unset it$"):
        environment.check_limits()
    monkeypatch.setenv(name, "0")
    environment.check_limits()


TINY = {
    "years": 2,
    "year": {"days": 2},
    "population": {"mechanical": 10, "llm": 2},
    "llm": {"engine": "simulated"},
    "satisfaction": {"judged": True},
    "planner": {"compared_with": []},
    "schedule": {"brackets": "three"},
}
SETTINGS_OF_JAX = {
    "jax_random_seed_offset": 5,
    "jax_threefry_partitionable": False,
    "jax_default_prng_impl": "rbg",
    "jax_default_matmul_precision": "bfloat16",
    "jax_numpy_dtype_promotion": "strict",
    "jax_numpy_rank_promotion": "raise",
    "jax_transfer_guard": "disallow",
    "jax_legacy_prng_key": "error",
}


def test_results_do_not_depend_on_settings_of_jax(tmp_path, request):
    """As of the variables of the same names in capitals, read when JAX is loaded."""
    je.run(TINY, out=tmp_path / "a")
    for name, value in SETTINGS_OF_JAX.items():
        before = jax.config.values[name]
        request.addfinalizer(lambda name=name, before=before: jax.config.update(name, before))
        jax.config.update(name, value)
    je.run(TINY, out=tmp_path / "b")
    assert je.digest(tmp_path / "b") == je.digest(tmp_path / "a")


def test_keys_do_not_depend_on_settings_of_jax(request):
    usual = jax.random.key(2**32 - 1, impl="threefry2x32")
    request.addfinalizer(lambda: jax.config.update("jax_random_seed_offset", 0))
    jax.config.update("jax_random_seed_offset", 5)
    assert named_key(2**32 - 1) == usual
    assert jax.jit(named_key)(np.uint32(2**32 - 1)) == usual
    assert jax.random.key(2**32 - 1, impl="threefry2x32") != usual


@pytest.mark.parametrize(
    ("limit", "words"), [("RLIMIT_DATA", "ulimit -d: 5 kB"), ("RLIMIT_AS", "ulimit -v: 5 kB")]
)
def test_the_limit_that_keeps_threads_from_being_started_is_named(monkeypatch, limit, words):
    limited = getattr(resource, limit)
    usual = (resource.RLIM_INFINITY,) * 2
    monkeypatch.setattr(
        resource, "getrlimit", lambda which: {limited: (5120, -1)}.get(which, usual)
    )
    assert environment._limit_on_threads() == words


def test_a_working_folder_that_is_gone_is_said(tmp_path, monkeypatch, capsys):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(SystemExit) as left, one_line_errors():
        Path("a").resolve()
    assert left.value.code == 2
    said = "jaxecon: the working folder has been removed; change to another\n"
    assert capsys.readouterr().err == said


def test_figures_do_not_depend_on_the_backend_of_windows(tmp_path):
    row = {"policy": "flat", "thresholds": [0.0], "rates": [0.3], "rebate": 1.0, "gain": 0.1}
    code = f"""if True:
        import os
        from pathlib import Path
        from jaxecon.report.schedules import draw_schedules
        draw_schedules(Path({str(tmp_path / "a.png")!r}), [{row}], "title")
        print(os.environ["MPLBACKEND"])
    """
    assert ended(started("-c", code, MPLBACKEND="nonsense")) == (0, "nonsense\n", "")
    assert (tmp_path / "a.png").read_bytes()


@pytest.mark.parametrize(
    "model", ["x" * 6000, "x/" * 3000, "a/" + "x" * 300, "/" + "x" * 300, "~nobody-here/x"]
)
def test_models_that_are_no_names(model):
    with pytest.raises(UserError, match=r"^llm\.model: ") as refused:
        resolve(model)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("number", ["1025", "100000", "000" + "9" * 5000])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JAX_NUM_CPU_DEVICES", "{}"),
        (
            "XLA_FLAGS",
            "--xla_force_host_platform_device_count=2 --a "
            "--xla_force_host_platform_device_count={}",
        ),
    ],
)
def test_more_devices_than_a_processor_is_split_into(monkeypatch, name, value, number):
    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.setenv(name, value.format(number))
    with pytest.raises(UserError, match=rf"^{name}: \d+(\.\.)? devices .*; at most 1,024$"):
        environment.check_limits()
    monkeypatch.setenv(name, value.format(1024))
    environment.check_limits()


@pytest.mark.parametrize("number", ["1_000_000", "+1_025", " 2000 ", "\uff19999"])
def test_numbers_as_jax_reads_them(monkeypatch, number):
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", number)
    with pytest.raises(UserError, match=r"^JAX_NUM_CPU_DEVICES: .*; at most 1,024$"):
        environment.check_limits()


def test_flags_that_xla_knows(monkeypatch):
    monkeypatch.delitem(sys.modules, "jax", raising=False)
    monkeypatch.setenv("XLA_FLAGS", " --xla_force_host_platform_device_count=2 ")
    environment.check_xla_flags()


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ("-n 20", "ulimit -n: 20 open files; at least 128 are needed"),
        ("-n 64", "ulimit -n: 64 open files; at least 128 are needed"),
        ("-v 1000000", "ulimit -v: 1000000 kB of address space; at least"),
    ],
)
def test_limits_are_one_line(limit, words):
    status, out, errors = command("settings", prelude=f"ulimit {limit}")
    assert (status, out, errors.count("\n")) == (2, "", 1), errors
    assert errors.startswith(f"jaxecon: {words}")


def test_the_limit_on_files_is_raised_as_far_as_allowed():
    code = """if True:
        import resource
        from jaxecon.core.environment import check_limits
        check_limits()
        print(*resource.getrlimit(resource.RLIMIT_NOFILE))
    """
    few = "ulimit -S -n 64; ulimit -H -n 1000"
    assert ended(started("-c", code, prelude=few, XLA_FLAGS="")) == (0, "1000 1000\n", "")


def test_threads_that_cannot_be_started(monkeypatch):
    """As with ulimit -u, and in a container with few processes."""
    start, allowed = threading.Thread.start, 5

    def few(thread):
        nonlocal allowed
        allowed -= 1
        if allowed < 0:
            raise RuntimeError("can't start new thread")
        start(thread)

    before = threading.active_count()
    monkeypatch.setattr(threading.Thread, "start", few)
    with pytest.raises(UserError, match=r"^ulimit -u: no more than 5 threads can be started; "):
        environment.check_limits()
    assert threading.active_count() == before


QUIRKS = {
    "COLUMNS": ("0", "-5", "nonsense"),
    "TERM": ("dumb", ""),
    "NO_COLOR": ("1",),
    "PYTHONWARNINGS": ("error",),
    "PYTHONOPTIMIZE": ("2",),
    "OMP_NUM_THREADS": ("nonsense",),
    "TMPDIR": ("/dev/null/none",),
    "HOME": ("/dev/null/none",),
    "TZ": ("nonsense",),
    "LC_ALL": ("C", "xx_YY.nonsense"),
}


def test_variables_that_are_harmless():
    """Each odd value of each variable, a few at a time."""
    whole = command("settings", COLUMNS="80", XLA_FLAGS="")[1]
    for which in range(max(map(len, QUIRKS.values()))):
        odd = {name: values[min(which, len(values) - 1)] for name, values in QUIRKS.items()}
        assert command("settings", XLA_FLAGS="", **odd) == (0, whole, "")


PROXIES = [
    ("ALL_PROXY", "socks5://127.0.0.1:1"),
    ("all_proxy", "socks://127.0.0.1:1"),
    ("HTTP_PROXY", "nonsense://x"),
    ("https_proxy", "ftp://x:y"),
]
CERTIFICATES = [
    ("SSL_CERT_FILE", "/dev/null/none.pem"),
    ("SSL_CERT_FILE", "/"),
    ("SSL_CERT_FILE", os.__file__),
]
HERE = [
    "http://127.0.0.1:8000/v1",
    "https://localhost/v1",
    "http://[::1]:1/v1",
    "http://a.localhost",
]
ELSEWHERE = ["https://api.openai.com/v1", "http://10.0.0.7:8000/v1", "http://[2001:db8::1]/v1"]


@pytest.fixture
def no_proxies(monkeypatch):
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("SSL_CERT"):
            monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.parametrize(("name", "value"), [*PROXIES, *CERTIFICATES])
def test_a_server_elsewhere_needs_proxies_and_certificates_that_work(no_proxies, name, value):
    no_proxies.setenv(name, value)
    for url in ELSEWHERE:
        with pytest.raises(UserError) as refused:
            http_client(url, 4, 1.0)
        assert str(refused.value).startswith(f"{name}={value!r}: cannot be used for {url} (")
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [*PROXIES, *CERTIFICATES, ("HTTP_PROXY", "http://127.0.0.1:1"), ("NO_PROXY", "[nonsense")],
)
def test_a_server_on_this_machine_is_reached_directly(no_proxies, name, value):
    no_proxies.setenv(name, value)
    for url in HERE:
        client = http_client(url, 4, 1.0)
        assert not client.trust_env
        assert client._mounts == {}


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_where_nothing_answers_is_named(no_proxies, variable):
    no_proxies.setenv(variable, f"http://user:SECRET@127.0.0.1:{free_port()}")
    no_proxies.setattr(probing, "_PAUSE_SECONDS", 0.01)
    with pytest.raises(EngineError) as failed:
        OpenAIEngine("m", base_url="http://192.0.2.1:8000/v1")
    assert str(failed.value).startswith(f"{variable}: the proxy 127.0.0.1:")
    assert " gives no connection to http://192.0.2.1:8000/v1 (" in str(failed.value)
    assert "SECRET" not in str(failed.value)


def test_a_proxy_that_goes_away_is_named(no_proxies):
    no_proxies.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    gone = RequestFailure("refused", unreachable=True)
    with pytest.raises(EngineError, match=r"^HTTPS_PROXY: the proxy 127"):
        Server("https://u.example/v1", "m", "KEY", patience=0.0).patience_left(gone)
    for url in ("https://u.example/v1", "http://127.0.0.1:1/v1", "http://plain.example/v1"):
        no_proxies.setenv("NO_PROXY", "u.example")
        with pytest.raises(EngineError, match=r"^llm\.base_url: .* cannot be reached"):
            Server(url, "m", "KEY", patience=0.0).patience_left(gone)


@pytest.mark.parametrize(
    ("excepted", "passed_by"),
    [("192.0.2.1:8000", True), ("192.0.2.1", True), ("192.0.2.1:9000", False), ("*", True)],
)
def test_a_server_that_is_reached_without_the_proxy(no_proxies, excepted, passed_by):
    no_proxies.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    no_proxies.setenv("NO_PROXY", excepted)
    assert (proxy_to("http://user:word@192.0.2.1:8000/v1") is None) == passed_by


@pytest.mark.parametrize("name", ["OPENAI_ORG_ID", "OPENAI_PROJECT_ID"])
@pytest.mark.parametrize("value", ["org\n", "org\r\nX-Key: 1", "\u00f6rg", "a\tb", "\udcff"])
def test_a_name_of_an_account_that_no_header_can_hold(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError) as refused:
        check_openai("http://127.0.0.1:1/v1", "OPENAI_API_KEY")
    assert str(refused.value) == f"{name}: not one line of plain ASCII text; correct or unset it"


def test_which_addresses_are_this_machine():
    assert all(
        map(is_this_machine, [*HERE, "http://127.8.9.10/", "http://0.0.0.0:1", "http://LOCALHOST."])
    )
    assert not any(
        map(is_this_machine, [*ELSEWHERE, "http://localhost.example.org", "http://127.0.0.1.x"])
    )


def test_a_cache_that_cannot_be_written_is_said():
    from jaxecon.core import compilation

    assert compilation._unwritable("/dev/null/none") == (
        "JAX_COMPILATION_CACHE_DIR: /dev/null/none: cannot be written (Not a directory); programs "
        "are compiled every time"
    )
    assert compilation._unwritable("gs://bucket/cache") is None
