"""Indexes by the name of their card: download and convert published ones, build others."""

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path

from pyserini_jpq import cards, cli
from pyserini_jpq.cards import IndexCard
from pyserini_jpq.convert.encoder import import_encoder
from pyserini_jpq.convert.foreign import read_foreign
from pyserini_jpq.convert.importing import KnownEncoder, import_jpq, know_encoder
from pyserini_jpq.download.download import fetch
from pyserini_jpq.download.weights import unpacked
from pyserini_jpq.encode.embeddings import is_complete
from pyserini_jpq.encode.run import encode
from pyserini_jpq.encode.source import EncoderSource, find_encoder
from pyserini_jpq.errors import DownloadError, EncoderError
from pyserini_jpq.files import refuse_existing
from pyserini_jpq.index.folder import find_index
from pyserini_jpq.index.options import IndexOptions
from pyserini_jpq.index.run import build_index
from pyserini_jpq.paths import DOWNLOADS, EMBEDDINGS, ENCODERS, INDEXES

_VOCABULARY = ("vocab.json", "merges.txt")
_ID_BYTES = 8  # per document in the authors' files
_USUAL_DIMENSION = 768


def obtain_index(name: str, build: bool = False, consent: Callable[[str], None] | None = None) -> Path:
    """Return the folder of an index; a published one is downloaded on first use.

    Parameters
    ----------
    name
        A folder, the name of one under `indexes/`, or of a card.
    build
        Build a missing OPQ index: download its collection and encoder, encode, index. It may take hours, and an
        interrupted build resumes.
    consent
        Called with a description of the download or build; raises to refuse it.

    Raises
    ------
    IndexFolderError
        If there is neither a folder nor a card, or the card's index is neither published nor to be built.
    DownloadError
        If the download fails.
    """
    if Path(name).is_dir() or (INDEXES / name).is_dir() or not cards.has_card("indexes", name):
        return find_index(name)
    card = cards.index_card(name)
    ask = consent or (lambda _: None)
    if card.downloads:
        ask(f"the index {name} is not here and would be fetched{_size(card, card.m + _ID_BYTES)}")
        return fetch_index(name, card, INDEXES / name)
    if build and not card.recipe:
        dimension = cards.encoder_card(card.encoder).dimension or _USUAL_DIMENSION
        ask(
            f"the index {name} is not here; {card.collection} would be fetched and encoded with {card.encoder}, which "
            f"takes hours on a GPU and days without{_size(card, 4 * dimension)} of embeddings"
        )
        return build_opq(card, INDEXES / name)
    return find_index(name)


def _size(card: IndexCard, bytes_each: int) -> str:
    size = (card.documents or 0) * bytes_each
    return f": about {size / 1e9:.1f} GB" if size >= 1e8 else f": about {size / 1e6:.1f} MB" if size else ""


def fetch_index(name: str, card: IndexCard, output: Path) -> Path:
    """Download an index and its query encoder, and convert both; nothing is downloaded or converted twice.

    Parameters
    ----------
    name
        Name of the card.
    card
        Card with addresses of `index` and `query_encoder`, and of `docids` if these are not the row numbers.
    output
        The index folder to write; the query encoder goes to `encoders/NAME`.

    Returns
    -------
    pathlib.Path
        The index folder.

    Raises
    ------
    DownloadError
        If a file cannot be downloaded or is not the published one.
    ConversionError
        If a file has unexpected content; none of it is executed.
    """
    refuse_existing(output, overwrite=False)
    index_file = _fetch(name, card, "index")
    encoder = _query_encoder(name, card)
    docids = _docids_by_offset(_fetch(name, card, "docids")) if "docids" in card.downloads else None
    cli.say(f"converting {index_file.name}")
    foreign = read_foreign(index_file)
    if card.documents not in (None, len(foreign.ids)):
        raise DownloadError(
            f"{index_file} holds {len(foreign.ids)} documents, the card {name} says {card.documents}; it is another one"
        )
    documents = KnownEncoder(EncoderSource(card.encoder, cards.encoder_card(card.encoder)), None)
    import_jpq(foreign, output, docids, know_encoder(encoder), documents)
    cli.say(f"index: {output}, query encoder: {encoder.folder}; {DOWNLOADS / name} is not needed any more")
    return output


def _fetch(name: str, card: IndexCard, what: str) -> Path:
    return fetch(
        card.downloads[what], DOWNLOADS / name, f"the {what.replace('_', ' ')} of {name}", card.checksums.get(what)
    )


def _query_encoder(name: str, card: IndexCard) -> EncoderSource:
    output = ENCODERS / name
    if output.is_dir():
        return find_encoder(str(output))
    archive = _fetch(name, card, "query_encoder")
    downloads = archive.parent
    by_hand = all((downloads / file).is_file() for file in _VOCABULARY)
    with unpacked(archive) as folder:
        try:
            return import_encoder(folder, output, cards.encoder_card(card.encoder), str(downloads) if by_hand else None)
        except EncoderError as problem:
            raise EncoderError(
                f"{problem} (or put {' and '.join(_VOCABULARY)} of roberta-base into {downloads})"
            ) from None


def _docids_by_offset(path: Path) -> list[str]:
    """Return the docids of MS MARCO's documents in the order of `msmarco-docs.tsv`.

    Parameters
    ----------
    path
        `msmarco-docs-lookup.tsv.gz`: lines of docid, offset in the TREC file, offset in the TSV file.

    Raises
    ------
    DownloadError
        If the file has another format.
    """
    offsets: list[tuple[int, str]] = []
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="\n") as lines:
            for line in lines:
                docid, _, offset = line.rstrip("\n").split("\t")
                offsets.append((int(offset), docid))
    except (ValueError, EOFError, zlib.error, gzip.BadGzipFile) as problem:
        raise DownloadError(
            f"{path} after line {len(offsets)} is no lookup file of docid and two offsets ({problem}); remove it"
        ) from None
    return [docid for _, docid in sorted(offsets)]


def build_opq(card: IndexCard, output: Path) -> Path:
    """Encode the collection of an OPQ index's card and build the index; both resume an interrupted run."""
    embeddings = EMBEDDINGS / f"{card.collection}.{card.encoder}"
    if not is_complete(embeddings):
        cli.say(
            f"$ python -m pyserini_jpq.encode --corpus {card.collection} --encoder {card.encoder} --output {embeddings}"
        )
        encode(card.collection, card.encoder, embeddings)
    cli.say(
        f"$ python -m pyserini_jpq.index --embeddings {embeddings} --m {card.m} --bits {card.bits} --output {output}"
    )
    build_index(embeddings, output, options=IndexOptions(m=card.m, bits=card.bits))
    return output
