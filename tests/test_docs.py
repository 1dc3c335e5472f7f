"""The README and the guides: links lead somewhere, and commands have the flags that they are shown with."""

import contextlib
import io
import re
import runpy
import sys
from functools import cache

import pytest

from tests.conftest import CHECKOUT, needs

pytestmark = pytest.mark.unit

ROOT = CHECKOUT
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("demo/**/*.md")])
ROOMS = ("compare", "convert", "encode", "evaluate", "index", "reproduce", "search", "serve", "train")
COMMAND = re.compile(r"python -m ((?:pyserini_jpq|benchmarks)(?:\.\w+)+)((?:[^\n`\\]|\\\n)*)")


def name(page):
    return str(page.relative_to(ROOT))


@needs("README.md", "docs")
def test_pages_are_found():
    assert {"README.md", "training.md"} <= {page.name for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    targets = [link.partition("#") for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    missing = [file for file, _, _ in targets if file and not (page.parent / file).exists()]
    for file, _, anchor in targets:
        target = page.parent / file if file else page
        if anchor and target.suffix == ".md" and anchor not in anchors(target):
            missing.append(f"{file}#{anchor}")
    assert not missing


def anchors(page):
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@cache
def flags_of(module):
    before, sys.argv = sys.argv, [module, "--help"]
    try:
        with contextlib.redirect_stdout(io.StringIO()) as shown, contextlib.suppress(SystemExit):
            runpy.run_module(module, run_name="__main__")
    finally:
        sys.argv = before
    return set(re.findall(r"--[a-z][\w-]*", shown.getvalue()))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_have_the_flags_that_are_shown(page):
    shown = [
        (module, flag)
        for module, rest in COMMAND.findall(page.read_text())
        for flag in re.findall(r"--[a-z][\w-]*", rest)
    ]
    assert [f"{module} {flag}" for module, flag in shown if flag not in flags_of(module)] == []


OF_OTHERS = {
    "--force-reinstall",
    "--no-deps",
    "--no-prebuilt-indexes",
    "--dry-run",
    "--encoder-class",
    "--check",
    "--max_query_length",
    "--max_seq_length",
    "--scale",
}
"""Flags of pip, of Pyserini and of the scripts of others, which pages speak of."""


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent.name == "docs"], ids=name)
def test_flags_in_the_text_are_those_of_a_command(page):
    ours = set().union(*(flags_of(f"pyserini_jpq.{room}") for room in ROOMS))
    ours |= set().union(*(flags_of(module) for module, _ in COMMAND.findall(page.read_text())))
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    shown = {flag for code in re.findall(r"`[^`]+`", text) for flag in re.findall(r"(?<![\w-])--[a-z][\w-]*", code)}
    assert shown - ours - OF_OTHERS == set()
