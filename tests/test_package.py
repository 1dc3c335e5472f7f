"""Rules of the whole package: what imports what, and that nothing heavy is loaded before it is used."""

import ast
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

import pyserini_jpq
from tests.conftest import CHECKOUT, needs

PACKAGE = Path(pyserini_jpq.__file__).parent
MOST_LINES = 350
COMMANDS = ["encode", "index", "convert", "train", "search", "evaluate", "compare", "reproduce", "serve"]


@pytest.mark.integration
@pytest.mark.parametrize("command", COMMANDS)
def test_help_loads_nothing_heavy(command):
    code = (
        "import sys, runpy; sys.argv = ['x', '--help']\n"
        f"try: runpy.run_module('pyserini_jpq.{command}', run_name='__main__')\n"
        "except SystemExit as e: assert not e.code\n"
        "heavy = {'torch', 'transformers', 'faiss', 'pyserini', 'jnius', 'pandas', 'matplotlib', 'scipy'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip().splitlines()[-1] == "[]"
    assert "usage:" in done.stdout


@pytest.mark.integration
def test_import_starts_nothing():
    code = "import sys, pyserini_jpq; print(sorted({'torch', 'jnius', 'faiss', 'pyserini'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    return found


@pytest.mark.unit
@needs("pyproject.toml")
def test_imports_point_down():
    """The floors stand in pyproject.toml; `make check` says which import breaks them."""
    pytest.importorskip("importlinter")
    # In a process of its own: it turns off all loggers that there are.
    lint = "from importlinter import cli; raise SystemExit(cli.lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", lint], cwd=CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.unit
def test_only_the_door_imports_pyserini():
    for path in _files():
        if path.parent != PACKAGE / "compat":
            assert not any(name.split(".")[0] in ("pyserini", "jnius") for name in imports(path)), path


@pytest.mark.unit
def test_the_package_itself_names_its_commands():
    done = subprocess.run([sys.executable, "-m", "pyserini_jpq"], capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and lines[-1] == "Each has --help."
    for command in ("encode", "index", "train", "search", "evaluate", "compare", "convert", "reproduce", "serve"):
        assert sum(line.startswith(f"python -m pyserini_jpq.{command}: ") for line in lines) == 1


def test_files_are_small():
    sizes = {str(file): len(file.read_text().splitlines()) for file in _files()}
    assert len(sizes) > 100
    assert {file: size for file, size in sizes.items() if size > MOST_LINES} == {}


def test_half_of_the_functions_have_six_lines_or_fewer():
    assert (
        median(_length(node) for file in _files() for node in ast.walk(ast.parse(file.read_text())) if _is(node)) <= 6
    )


def test_parsed_flags_stay_in_the_commands():
    found = {file.name for file in _files() if "Namespace" in file.read_text()}
    assert found <= {"__main__.py", "cli.py"}


def _files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def _is(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def _length(function: ast.AST) -> int:
    """Return the lines of a function's body, without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0
