"""Rules of the whole package: what imports what, and that nothing heavy is loaded before it is used."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import pyserini_jpq
from tests.conftest import CHECKOUT, needs

PACKAGE = Path(pyserini_jpq.__file__).parent
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
    for path in PACKAGE.rglob("*.py"):
        if path.parent != PACKAGE / "compat":
            assert not any(name.split(".")[0] in ("pyserini", "jnius") for name in imports(path)), path


@pytest.mark.unit
def test_the_package_itself_names_its_commands():
    done = subprocess.run([sys.executable, "-m", "pyserini_jpq"], capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and lines[-1] == "Each has --help."
    for command in ("encode", "index", "train", "search", "evaluate", "compare", "convert", "reproduce", "serve"):
        assert sum(line.startswith(f"python -m pyserini_jpq.{command}: ") for line in lines) == 1
