"""`python -m pyserini_jpq`: which commands there are."""

import ast
import sys
from pathlib import Path


def main() -> int:
    """Print a line for each command: what the first line of its module says."""
    for file in sorted(Path(__file__).parent.glob("*/__main__.py")):
        what = (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").splitlines()[0]
        print(what.replace("`", ""))
    print("Each has --help.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
