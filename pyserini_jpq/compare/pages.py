"""A page as a list of blocks, written as Markdown and as HTML."""

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pyserini_jpq.evaluate import table
from pyserini_jpq.evaluate.table import Table, escaped, plain

# Wide tables and figures scroll in boxes of their own; the first column of a table stays in sight.
_STYLE = """\
body { font: 16px/1.5 system-ui, sans-serif; max-width: 80rem; margin: 1.5rem auto; padding: 0 1rem; color: #111; }
h1, h2, p, figcaption { overflow-wrap: anywhere; }
.table, figure { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .875rem; }
th, td { border-bottom: 1px solid #ccc; padding: .25rem .5rem; text-align: right; vertical-align: top; }
th { vertical-align: bottom; }
td { white-space: nowrap; }
.text { text-align: left; white-space: normal; }
.long { min-width: 16rem; }
th:first-child, td:first-child { position: sticky; left: 0; background: #fff; min-width: 7rem; max-width: 14rem; }
img { width: 100%; min-width: 40rem; max-width: 62rem; }
figcaption { position: sticky; left: 0; }
pre { background: #f4f4f4; padding: .75rem; overflow-x: auto; }
@media (max-width: 40rem) { body { margin-top: .5rem; padding: 0 .75rem; } td:first-child { max-width: 8rem; } }
@media print { body { max-width: none; } img { min-width: 0; } }
"""


@dataclass(frozen=True)
class Text:
    """A heading or a paragraph."""

    kind: Literal["title", "section", "paragraph", "code"]
    text: str


@dataclass(frozen=True)
class Image:
    """A PNG beside the page."""

    file: str
    caption: str


Block = Text | Table | Image


def as_markdown(blocks: Sequence[Block]) -> str:
    """Return a page in GitHub's Markdown, with the pictures beside it."""
    return "\n\n".join(map(_markdown, blocks)) + "\n"


def as_html(blocks: Sequence[Block], folder: Path) -> str:
    """Return a page that needs no other file: it holds the pictures of a folder."""
    title = next((block.text for block in blocks if isinstance(block, Text)), "")
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    head += f"<title>{html.escape(plain(title))}</title><style>{_STYLE}</style>"
    body = "\n".join(_html(block, folder) for block in blocks)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def _markdown(block: Block) -> str:
    if isinstance(block, Image):
        return f"![{escaped(block.caption)}]({block.file})\n\n{escaped(block.caption)}"
    if isinstance(block, Table):
        return table.as_markdown(block)
    if block.kind == "code":
        return f"```\n{_code(block.text)}\n```"
    return {"title": "# ", "section": "## "}.get(block.kind, "") + escaped(block.text)


def _html(block: Block, folder: Path) -> str:
    if isinstance(block, Image):
        caption = html.escape(plain(block.caption))
        picture = base64.b64encode((folder / block.file).read_bytes()).decode("ascii")
        image = f'<img src="data:image/png;base64,{picture}" alt="{caption}">'
        return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"
    if isinstance(block, Table):
        return table.as_html(block)
    if block.kind == "code":
        return f"<pre>{html.escape(_code(block.text))}</pre>"
    tag = {"title": "h1", "section": "h2"}.get(block.kind, "p")
    return f"<{tag}>{html.escape(plain(block.text))}</{tag}>"


def _code(text: str) -> str:
    """Return lines that cannot end the code block around them."""
    return "\n".join(plain(line) for line in text.split("\n")).replace("```", "'''")
