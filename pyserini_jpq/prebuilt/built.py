"""An OPQ index that nobody publishes, made of its collection and encoder by the commands that a user would type."""

from pathlib import Path

from pyserini_jpq import cli
from pyserini_jpq.catalog import IndexCard
from pyserini_jpq.encode import __main__ as encode_command
from pyserini_jpq.encode.embeddings import is_complete
from pyserini_jpq.index import __main__ as index_command

EMBEDDINGS = Path("embeddings")


def build_opq(card: IndexCard, output: Path) -> Path:
    """Encode the collection of a card and build its OPQ index; each goes on where it was interrupted.

    Parameters
    ----------
    card
        Of an OPQ index.
    output
        The index folder to write.
    """
    embeddings = EMBEDDINGS / f"{card.collection}.{card.encoder}"
    if not is_complete(embeddings):
        _run("encode", encode_command, corpus=card.collection, encoder=card.encoder, output=embeddings)
    _run("index", index_command, embeddings=embeddings, m=card.m, bits=card.bits, output=output)
    return output


def _run(name: str, command: object, **flags: object) -> None:
    words = [word for flag, value in flags.items() for word in (f"--{flag}", str(value))]
    cli.say(f"$ python -m pyserini_jpq.{name} {' '.join(words)}")
    command.main(words)  # type: ignore[attr-defined]
