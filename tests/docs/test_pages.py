"""Pages that say what the code says: the reference, the messages, the files that the architecture names, the figure."""

import ast
import inspect
import re
from pathlib import Path

import pytest
import yaml

import pyserini_jpq
from pyserini_jpq.cards import parse_encoder_card
from tests.conftest import needs

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "pyserini_jpq"

pytestmark = needs("docs", "pyserini_jpq")


def messages() -> list[str]:
    """Return every text of the package, with `…` for what is put in."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


@pytest.mark.unit
def test_messages_of_troubleshooting_are_those_of_the_code():
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    shown = [row[2] for row in re.finditer(r"^\| (`+) ?(.+?) ?\1 \| ", page, re.MULTILINE)]
    assert len(shown) > 30
    texts = "\0".join(messages())
    missing = []
    for message in shown:
        # What the page leaves out may be a name or a whole clause, but never another message.
        pattern = r"[^\0]*".join(re.escape(part.strip()) for part in message.split("…") if part.strip(" :.;()"))
        if not re.search(pattern, texts):
            missing.append(message)
    assert missing == []


@pytest.mark.unit
def test_every_public_name_is_in_the_reference():
    page = (ROOT / "docs" / "api.md").read_text()
    shown = {line.rpartition(".")[2] for line in page.splitlines() if line.startswith(":::")}
    shown |= set(re.findall(r"\w+", re.findall(r"members: \[(.+)\]", page)[0]))
    assert set(pyserini_jpq.__all__) - shown == set()


@pytest.mark.unit
@pytest.mark.parametrize("page", ["architecture.md", "method.md"])
def test_names_in_a_page_are_in_the_tree(page):
    text = (ROOT / "docs" / page).read_text()
    source = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    missing = []
    for name in set(re.findall(r"`([\w./]+)(?:\(.*?\))?`", text)):
        file = name.endswith((".py", "/")) and not name.startswith("NAME")
        if file and not any((root / name).exists() for root in (PACKAGE, ROOT)) and not list(PACKAGE.rglob(name)):
            missing.append(name)
        if re.fullmatch(r"[A-Z]\w+(\.\w+)?|_?[a-z]+(_[a-z]+)+|test_\w+", name):
            last = name.rpartition(".")[2]
            if not re.search(rf"\b{last}\b", tests if name.startswith("test_") else source):
                missing.append(name)
    assert missing == []


@pytest.mark.unit
def test_the_card_of_the_guide_is_one():
    page = (ROOT / "docs" / "encoders.md").read_text()
    card = yaml.safe_load(re.search(r"```yaml\n(.*?)```", page, re.DOTALL)[1])
    assert parse_encoder_card(card, "docs/encoders.md").query.prefix == "query: "


@pytest.mark.unit
def test_what_costs_prints_is_what_stands_below(capsys):
    page = (ROOT / "docs" / "costs.md").read_text()
    code, shown = re.search(r"```python\n(N, D = .*?)```\n\nprints\n\n```\n(.*?)```", page, re.DOTALL).groups()
    exec(code, {})
    assert capsys.readouterr().out == shown


@pytest.mark.unit
def test_the_figure_is_drawn_from_the_tables(tmp_path):
    pytest.importorskip("matplotlib")
    from benchmarks import which_m

    (ndcg, flat), (rr, whole) = which_m.nfcorpus(), which_m.msmarco()
    assert set(ndcg["OPQ"]) == set(ndcg["JPQ"]) == {12, 24, 48} and set(rr["OPQ"]) == {16, 24, 32, 48, 64, 96}
    assert all(ndcg["JPQ"][m] > ndcg["OPQ"][m] for m in ndcg["OPQ"])
    assert max(rr["JPQ"].values()) < whole and min(ndcg["JPQ"].values()) < flat
    which_m.draw(tmp_path / "which.svg")
    assert "MS MARCO subset" in (tmp_path / "which.svg").read_text()


@pytest.mark.integration
def test_the_site_builds_strictly(tmp_path):
    pytest.importorskip("mkdocstrings")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path / "site"), strict=True)
    config.plugins.run_event("startup", command="build", dirty=False)
    build(config)
    reference = (tmp_path / "site" / "api.html").read_text()
    for function in (pyserini_jpq.Index.from_texts, pyserini_jpq.Index.search):
        assert f'id="pyserini_jpq.api.index.Index.{function.__name__}"' in reference
        assert inspect.getdoc(function).splitlines()[0] in reference
    for file in (tmp_path / "site").rglob("*.html"):
        assert not re.search(r'(?:src|<link[^>]*href)="https?://', file.read_text()), file
