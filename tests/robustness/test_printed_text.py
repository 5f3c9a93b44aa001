"""Markup, escapes and characters of other encodings are text wherever a command prints them."""

import ast
import io
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.runs import HYBRID
from typer.testing import CliRunner

import jaxecon as je
from jaxecon.cli import app as cli_app
from jaxecon.cli.output.branch import print_futures
from jaxecon.cli.output.printable import one_line, printable
from jaxecon.cli.output.progress import RunProgress, SweepProgress, counting
from jaxecon.cli.output.run import print_summary
from jaxecon.cli.output.tables import new_table
from jaxecon.cli.output.terminal import Console
from jaxecon.core.errors import UserError
from jaxecon.storage.paths import refuse_existing

CLI = Path(cli_app.__file__).parent
MAY_PRINT = {CLI / "output" / "printable.py", CLI / "output" / "terminal.py", CLI / "errors.py"}
TO_JSON = ("json.dumps", "json_text")
HOSTILE = "x[red]y[/blue]\x1b[31m\x1b]0;t\x07\n\u202eü:smile:"


def interprets(tree):
    """What in a module prints text in another way than through the modules above."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom | ast.Import):
            names = [alias.name for alias in node.names]
            module = getattr(node, "module", None) or ""
            if module in ("rich.console", "rich.markup", "rich") and names != ["box"]:
                yield f"imports {module}"
            if any(name in ("rich", "rich.console", "rich.markup", "TextColumn") for name in names):
                yield f"imports {names}"
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called in ("typer.echo", "typer.secho", "click.echo", "Text.from_markup"):
            yield called
        if called in ("sys.stdout.write", "sys.stderr.write"):
            yield called
        if any(keyword.arg == "markup" for keyword in node.keywords):
            yield f"{called} with markup"
        if called == "print" and not all(
            isinstance(argument, ast.Constant)
            or (isinstance(argument, ast.Call) and ast.unparse(argument.func) in TO_JSON)
            for argument in node.args
        ):
            yield ast.unparse(node)


@pytest.mark.parametrize(
    "path", sorted(set(CLI.rglob("*.py")) - MAY_PRINT), ids=lambda p: str(p.relative_to(CLI))
)
def test_commands_print_through_one_place(path):
    assert not list(interprets(ast.parse(path.read_text())))


def test_the_search_finds_what_is_forbidden():
    found = interprets(
        ast.parse(
            "from rich.console import Console\nfrom rich.markup import escape\nprint(f'{x}')\n"
            "console.print(x, markup=True)\nText.from_markup(x)\nprint(json.dumps(x))\nprint('x')"
        )
    )
    assert len(list(found)) == 5


def is_harmless(text):
    return not any(c in text for c in "\x1b\x07\u202e\u2028\ud800\x00")


HOSTILE_TEXT = st.text("[]/redbol#\\:smile \x1b\x07\x00\u202e\u2028\ud800ü\n", max_size=30)


@settings(max_examples=150, deadline=None)
@given(HOSTILE_TEXT)
def test_a_console_shows_text_as_it_is(text):
    console = Console()
    console.file = io.StringIO()
    console.print_line(text)
    table = new_table(text, "b")
    table.add_row(text, "c")
    console.print(text)
    console.print(table)
    shown = console.file.getvalue()
    assert shown.startswith(one_line(text) + "\n")
    assert is_harmless(shown)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_no_character_fails_in_any_encoding(monkeypatch, encoding):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    for text in (HOSTILE, "±✓é", "\ud800", "名"):
        printable(text).encode(encoding)
        Console().print(text)
    sys.stdout.flush()
    written = sys.stdout.buffer.getvalue().decode(encoding)
    assert is_harmless(written)
    assert "名" in written if encoding == "utf-8" else "\\u540d" in written


@pytest.mark.parametrize("columns", ["0", "1", "-5", "²", "abc", "99999999999999999999"])
def test_an_impossible_width_is_not_believed(monkeypatch, columns):
    monkeypatch.delenv("COLUMNS", raising=False)
    usual = Console().width
    monkeypatch.setenv("COLUMNS", columns)
    assert Console().width == usual
    monkeypatch.setenv("COLUMNS", "120")
    assert Console().width == 120


@pytest.fixture(scope="module")
def hostile_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile") / HOSTILE.replace("/", "|")
    return je.run({**HYBRID, "years": 1, "year": {"days": 3}}, out=folder)


def test_a_run_in_a_folder_with_any_name_is_printed(hostile_run, capsys):
    print_summary(hostile_run)
    print_futures([hostile_run, hostile_run])
    with RunProgress(hostile_run.config, hostile_run.path):
        pass
    with SweepProgress(HOSTILE) as sweep:
        sweep.on_note(HOSTILE)
    with counting(HOSTILE, 2) as done:
        done(1)
    out, err = capsys.readouterr()
    assert is_harmless(out)
    assert is_harmless(err)
    name = one_line(hostile_run.path.name)
    assert f"Run directory: {one_line(str(hostile_run.path.parent))}/{name}" in out
    assert name in err


@pytest.mark.parametrize("arguments", [["digest", "x[/red]y"], ["run", "x\ny\x1b[31m.yaml"]])
def test_a_mistake_with_any_name_is_one_line(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        cli_app.app(arguments)
    err = capsys.readouterr().err
    assert ended.value.code == 2
    assert err.count("\n") == 1
    assert is_harmless(err)
    assert one_line(arguments[1]) in err


def test_a_long_message_is_cut(capsys):
    with pytest.raises(SystemExit):
        cli_app.app(["run", "--set", f"{'x' * 100_000}=3"])
    assert len(capsys.readouterr().err) < 2100


def test_arguments_that_are_no_text_are_refused_at_once(tmp_path):
    wrong = str(tmp_path / "\udcff")
    for arguments in (["run", "--out", wrong], ["transcript", wrong], ["run", "--set", wrong]):
        result = CliRunner().invoke(cli_app.app, arguments)
        assert result.exit_code == 2
        assert "not text in UTF-8" in result.stderr
    with pytest.raises(UserError, match="must be text in UTF-8"):
        refuse_existing(Path(wrong))
