"""`python -m demo.ask QUESTION`: the ten best answers of the demo's JPQ index."""

import sys

from demo.__main__ import JPQ
from pyserini_jpq import cli
from pyserini_jpq.errors import JPQError


def main(argv: list[str]) -> None:
    """Answer a question."""
    if not argv:
        raise JPQError("ask something: python -m demo.ask 'read a csv file into dictionaries'")
    if not JPQ.is_dir():
        raise JPQError(f"{JPQ} is not there; `make demo` makes it")
    from pyserini_jpq import JPQFaissSearcher

    for rank, hit in enumerate(JPQFaissSearcher(JPQ).search(" ".join(argv), k=10), start=1):
        print(f"{rank:2} {hit.score:7.4f} {hit.docid}")


if __name__ == "__main__":
    sys.exit(cli.run(main))  # type: ignore[arg-type]
