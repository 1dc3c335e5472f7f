"""Every command and every example of the README and the docs runs, on a tiny collection; what cannot says why."""

import shutil
import time
from pathlib import Path

import pytest

from pyserini_jpq.scan import available
from tests.conftest import needs
from tests.docs.blocks import LANGUAGES, blocks_of, commands_of, run_block

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("demo/**/*.md")])
RUN = [page for page in PAGES if any(block.reason is None and block.language in LANGUAGES for block in blocks_of(page))]


README = ["python", "bash", "bash", "python"]  # ten lines of Python, a collection, Lucene, Pyserini's classes


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.unit
@needs("README.md", "docs")
def test_every_block_is_run_or_says_why_not():
    blocks = [block for page in PAGES for block in blocks_of(page)]
    fences = sum(page.read_text().count("```") for page in PAGES)
    assert len(blocks) * 2 == fences, "a fence that the tests cannot read"
    assert {block.language for block in blocks} <= {*LANGUAGES, "yaml", ""}
    code = [block for block in blocks if block.language in LANGUAGES]
    run = [block for block in code if block.reason is None]
    assert all(10 < len(block.reason) < 120 for block in code if block.reason is not None)
    assert len(run) >= 25 and [block.language for block in run if block.page == ROOT / "README.md"] == README
    # What a reader would type is in a block that says that it is code.
    loose = [str(block) for block in blocks if block.language == "" and "python -m" in block.text]
    assert loose == []


@pytest.mark.unit
def test_blocks_are_read(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# A page\n\n```bash\npython -m a --b \\\n    c  # why\n\n# nothing\n```\n\n<!-- not run: it takes hours -->\n"
        "```python\nx = 1\n```\n\ntext\n\n<!-- a comment -->\n```python\ny = 2\n```\n"
    )
    first, second, third = blocks_of(page)
    assert commands_of(first.text) == [["python", "-m", "a", "--b", "c"]]
    assert (first.reason, second.reason, third.reason) == (None, "it takes hours", None)
    assert (first.line, third.line, third.language) == (3, 18, "python")


@pytest.mark.unit
def test_a_block_that_fails_is_seen(here, names):
    page = here / "page.md"
    page.write_text("```bash\npython -m pyserini_jpq.index --embeddings nowhere --output x\n```\n")
    with pytest.raises(AssertionError, match=r"page\.md:1.*status 2"):
        run_block(blocks_of(page)[0], {})
    page.write_text("```bash\nrm -r x\n```\n")
    with pytest.raises(AssertionError, match="no way to run"):
        run_block(blocks_of(page)[0], {})


@pytest.mark.integration
@pytest.mark.parametrize("page", [page for page in RUN if page.name != "README.md"], ids=name)
def test_a_guide_runs(page, made, published, here, names):
    for folder in (made, published):
        shutil.copytree(folder, here, dirs_exist_ok=True)
    _run(page, names)


@pytest.mark.integration
@needs("README.md")
def test_the_readme_runs(bare, here, names):
    shutil.copytree(bare, here, dirs_exist_ok=True)
    _run(ROOT / "README.md", names)
    assert (here / "runs" / "run.X.jpq-m24.txt").stat().st_size > 0


def _run(page, names):
    given = {"__name__": "__main__", **names}
    for block in blocks_of(page):
        if "PQScanner" in block.text and not available():
            continue  # built without a C++ compiler
        if block.reason is None and block.language in LANGUAGES:
            begin = time.perf_counter()
            run_block(block, given)
            print(f"{block}: {time.perf_counter() - begin:.2f} s")
