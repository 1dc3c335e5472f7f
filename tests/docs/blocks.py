"""The code blocks of a Markdown page, and how one is run: commands in this process, Python in one namespace a page."""

import glob
import itertools
import re
import runpy
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import run as run_ours

FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"<!-- not run: (.+?) -->\s*\Z", re.DOTALL)
PAGE_NOT_RUN = re.compile(r"^<!-- no block of this page is run: (.+?) -->$", re.MULTILINE)
LANGUAGES = {"bash", "python"}
"""What is run. Blocks without a language are outputs and drawings, `yaml` is read where it stands for a card."""


@dataclass(frozen=True)
class Block:
    """A block of code of a page; `reason` says why it is not run, if it is not."""

    page: Path
    line: int
    language: str
    text: str
    reason: str | None

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    whole = PAGE_NOT_RUN.search(text)
    found = []
    for match in FENCE.finditer(text):
        mark = NOT_RUN.search(text[: match.start()]) or whole
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(page, line, match[2], match[3], mark[1] if mark else None))
    return found


def commands_of(text: str) -> list[list[str]]:
    """Return the commands of a bash block as lists of words, without comments."""
    lines = text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def run_block(block: Block, names: dict[str, Any]) -> None:
    """Run a block in the folder that one stands in; an exception or another exit status than 0 fails the test."""
    if block.language == "python":
        # As many lines above as the page has, so that a traceback names the line of the page.
        exec(compile("\n" * block.line + _for_the_jvm(block.text), str(block.page), "exec"), names)
        return
    for words in commands_of(_for_the_jvm(block.text)):
        status = run_command([found for word in words for found in _expanded(word)])
        assert status == 0, f"{block}: `{' '.join(words)}` ended with status {status}"


def _for_the_jvm(text: str) -> str:
    """Make the paths absolute that Lucene reads: a JVM stays in the folder where it was started."""
    return re.sub(r"\b(?:collections|indexes)/X\.lucene\b", lambda match: str(Path.cwd() / match[0]), text)


def run_command(words: list[str]) -> int:
    match words:
        case ["python", "-m", module, *rest] if module.startswith("pyserini_jpq."):
            _make_room(rest)
            return run_ours(module.removeprefix("pyserini_jpq."), *rest)
        case ["python", "-m", module, *rest]:
            return _run_module(module, rest)
    raise AssertionError(f"no way to run `{' '.join(words)}`; mark its block `<!-- not run: why -->`")


def _make_room(words: list[str]) -> None:
    """Remove the outputs of a command that another page's commands have made already."""
    for flag, output in itertools.pairwise(words):
        if flag in ("--output", "--output-encoder"):
            shutil.rmtree(output, ignore_errors=True)
            Path(output).unlink(missing_ok=True)
            if Path(output).parts[0] == "indexes":
                shutil.rmtree(Path("encoders", Path(output).name), ignore_errors=True)


def _run_module(module: str, words: list[str]) -> int:
    """Run a module of others as `python -m` does."""
    before = sys.argv
    sys.argv = [module, *words]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=False)
        return 0
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = before


def _expanded(word: str) -> list[str]:
    return sorted(glob.glob(word)) or [word] if "*" in word else [word]
