"""A page as a list of blocks, which come out as Markdown and as HTML."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

_STYLE = """\
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #111; }
table { border-collapse: collapse; margin: 1rem 0; font-size: .875rem; display: block; overflow-x: auto; }
th, td { border-bottom: 1px solid #ccc; padding: .25rem .6rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child, th.text, td.text { text-align: left; }
td.text { white-space: normal; min-width: 14rem; }
img { max-width: 100%; }
pre { background: #f4f4f4; padding: .75rem; overflow-x: auto; }
@media print { body { max-width: none; } table { display: table; } }
"""


@dataclass(frozen=True)
class Text:
    """A heading or a paragraph."""

    kind: Literal["title", "section", "paragraph", "code"]
    text: str


@dataclass(frozen=True)
class Table:
    """A table; the first column and those in `texts` stand left."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Image:
    """A picture beside the page."""

    file: str
    caption: str


Block = Text | Table | Image


def as_markdown(blocks: Sequence[Block]) -> str:
    """Return a page in GitHub's Markdown."""
    return "\n\n".join(map(_markdown, blocks)) + "\n"


def as_html(blocks: Sequence[Block]) -> str:
    """Return a page that needs nothing but the pictures beside it."""
    title = next((block.text for block in blocks if isinstance(block, Text)), "")
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
    body = "\n".join(map(_html, blocks))
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def _markdown(block: Block) -> str:
    if isinstance(block, Image):
        return f"![{_escape(block.caption)}]({block.file})\n\n{_escape(block.caption)}"
    if isinstance(block, Table):
        marks = ["---" if i == 0 or i in block.texts else "---:" for i in range(len(block.header))]
        header, *rows = ([_escape(cell) for cell in row] for row in (block.header, *block.rows))
        lines = [header, marks, *rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)
    if block.kind == "code":
        return f"```\n{block.text}\n```"
    return {"title": "# ", "section": "## "}.get(block.kind, "") + _escape(block.text)


def _html(block: Block) -> str:
    if isinstance(block, Image):
        caption = html.escape(block.caption)
        image = f'<img src="{html.escape(block.file)}" alt="{caption}">'
        return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"
    if isinstance(block, Table):
        rows = [_html_row(block, "th", block.header), *(_html_row(block, "td", row) for row in block.rows)]
        return f"<table>{''.join(rows)}</table>"
    tag = {"title": "h1", "section": "h2", "code": "pre"}.get(block.kind, "p")
    return f"<{tag}>{html.escape(block.text)}</{tag}>"


def _html_row(table: Table, tag: str, cells: Sequence[str]) -> str:
    marked = [
        f"<{tag}{' class=text' if i in table.texts else ''}>{html.escape(cell)}</{tag}>" for i, cell in enumerate(cells)
    ]
    return f"<tr>{''.join(marked)}</tr>"


def _escape(text: str) -> str:
    for character in "\\|*<_$`[":
        text = text.replace(character, f"\\{character}")
    return text
