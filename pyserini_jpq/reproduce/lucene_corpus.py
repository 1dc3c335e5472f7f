"""`python -m pyserini_jpq.reproduce.lucene_corpus`: a collection as Pyserini's JsonCollection."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from pyserini_jpq import cli
from pyserini_jpq.bars import Progress
from pyserini_jpq.data.source import open_collection
from pyserini_jpq.files import new_folder


def main(argv: Sequence[str]) -> None:
    """Run the command."""
    parser = cli.parser("reproduce.lucene_corpus", "Write a collection as JSONL with `id` and `contents`.")
    parser.add_argument("--corpus", required=True, help="JSONL or TSV file, a folder of them, or a card")
    parser.add_argument("--output", required=True, type=Path, help="folder to write")
    args = parser.parse_args(argv)
    with (
        new_folder(args.output, overwrite=False) as folder,
        open(folder / "documents.jsonl", "w", encoding="utf-8") as file,
    ):
        for document in Progress(open_collection(args.corpus), desc="writing", unit=" documents", leave=False):
            contents = "\n".join(field for field in (document.url, document.title, document.text) if field)
            file.write(json.dumps({"id": document.docid, "contents": contents}) + "\n")


if __name__ == "__main__":
    sys.exit(cli.run(main))
