"""`python -m pyserini_jpq`: list the commands."""

import ast
import sys
from pathlib import Path


def main() -> int:
    """Print the first docstring line of each command."""
    for file in sorted(Path(__file__).parent.glob("*/__main__.py")):
        what = (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").splitlines()[0]
        print(what.replace("`", ""))
    print("Each has --help.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
