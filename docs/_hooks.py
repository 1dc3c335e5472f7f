"""For mkdocs: a link to a file of the repository that is no page becomes its text, as the site has no such file."""

import re
from pathlib import Path
from typing import Any

LINK = re.compile(r"\[([^\]]+)\]\(([^)\s#:]+)(?:#[\w-]+)?\)")
DOCS = Path(__file__).parent


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Return a page without links that lead out of the docs; `tests/test_docs.py` follows them in the repository."""
    folder = Path(page.file.abs_src_path).parent

    def plain(match: re.Match[str]) -> str:
        return match[0] if (folder / match[2]).resolve().is_relative_to(DOCS) else match[1]

    return LINK.sub(plain, markdown)
