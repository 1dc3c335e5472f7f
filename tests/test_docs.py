"""The README and the guides: links lead somewhere, and commands have the flags that they are shown with."""

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[1]
PAGES = sorted(path for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("demo/**/*.md")])
COMMAND = re.compile(r"python -m ((?:pyserini_jpq|benchmarks)(?:\.\w+)+)((?:[^\n`\\]|\\\n)*)")


def test_pages_are_found():
    assert {"README.md", "training.md"} <= {page.name for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
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
    shown = subprocess.run(
        [sys.executable, "-m", module, "--help"], capture_output=True, text=True, cwd=ROOT, check=True
    )
    return set(re.findall(r"--[a-z][\w-]*", shown.stdout))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_have_the_flags_that_are_shown(page):
    shown = [
        (module, flag)
        for module, rest in COMMAND.findall(page.read_text())
        for flag in re.findall(r"--[a-z][\w-]*", rest)
    ]
    assert [f"{module} {flag}" for module, flag in shown if flag not in flags_of(module)] == []
