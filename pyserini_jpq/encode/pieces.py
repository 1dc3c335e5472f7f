"""Encode a collection in pieces, each a window of documents, on a cluster; the folder is that of one process."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from pyserini_jpq.bars import Progress
from pyserini_jpq.cluster import Cluster
from pyserini_jpq.data.collection import Collection, Document, Summary, check_template
from pyserini_jpq.encode.backend import document_backend
from pyserini_jpq.encode.document import Shard, begin, encode_window
from pyserini_jpq.encode.embeddings import SCHEMA, Embeddings, is_complete, read_manifest
from pyserini_jpq.encode.pipeline import pipeline
from pyserini_jpq.encode.precision import resolve_device, resolve_dtype
from pyserini_jpq.encode.row_files import RowFile
from pyserini_jpq.encode.source import EncoderSource
from pyserini_jpq.files import exclusive


@dataclass(frozen=True)
class How:
    """How documents are encoded: fields of `EncodeOptions`."""

    batch_size: int
    device: str
    dtype: str


@dataclass(frozen=True)
class Piece:
    """A window of documents, and the file of their rows."""

    file: RowFile
    documents: list[Document]


class EncodeWorker:
    """Encodes pieces of a collection in the process of an actor."""

    def __init__(self, source: EncoderSource, how: How) -> None:
        device = resolve_device(how.device)
        self._encoder, self._how = source.load().to(device), how
        self._dtype = resolve_dtype(how.dtype, device)

    def do(self, piece: Piece) -> int:
        """Write the rows of a piece; return the number of documents."""
        compute = document_backend(self._encoder, "torch")
        with pipeline(self._encoder, compute, self._how.batch_size, self._dtype) as encoding:
            encode_window(piece.file, piece.documents, self._encoder, encoding, Progress(disable=True))
        return len(piece.documents)


def encode_on_cluster(
    cluster: Cluster,
    collection: Collection,
    source: EncoderSource,
    output: Path,
    how: How,
    overwrite: bool = False,
    keep_complete: bool = False,
) -> Embeddings:
    """Encode a collection on a cluster, with the files of `encode_collection`, byte for byte on machines of one kind.

    The collection is read as a stream, by one process; pieces that are there already are not encoded again.

    Parameters
    ----------
    cluster
        The cluster, whose machines see `output` under the same path.
    collection
        The documents.
    source
        The encoder; actors load it.
    output
        The folder to write.
    how
        Batch size, device and number type, as the actors resolve them.
    overwrite
        Replace existing embeddings.
    keep_complete
        Return embeddings that are complete, if they were made so.

    Raises
    ------
    JPQError
        As `encode_collection`.
    """
    check_template(source.card.document.template)
    summary = cluster.call(summary_of, collection.path.resolve(), collection.skip_empty)
    dimension, sha256, dtype = cluster.call(facts, absolute(source), how)
    manifest = {
        "schema": SCHEMA,
        "documents": summary.documents,
        "dimension": dimension,
        "compute_dtype": dtype,
        "backend": "torch",
        "encoder": source.entry(sha256, output),
        "collection_sha256": summary.sha256,
        "shards": 1,
    }
    if keep_complete and is_complete(output) and read_manifest(output) == manifest:
        return Embeddings(output)
    begin(output, manifest, Shard(), overwrite)
    with (
        exclusive(output, shared=True),
        exclusive(output / "shard-0", f"part 0 of 1 of {output}"),
        Progress(total=summary.documents, desc="encoding", unit=" documents") as progress,
    ):
        pieces = pieces_of(collection, output.resolve(), summary.documents, progress)
        for count in cluster.map(EncodeWorker, (absolute(source), how), pieces):
            progress.update(count)
    return Embeddings(output)


def pieces_of(
    collection: Collection,
    output: Path,
    documents: int,
    progress: Progress,
    is_there: Callable[[RowFile], bool] = lambda file: file.npy.is_file(),
) -> Iterator[Piece]:
    """Yield the pieces of a collection that are not there; memory holds one."""
    stream = iter(collection)
    for file, count in Shard().files(output, documents):
        if is_there(file):
            progress.update(sum(1 for _ in islice(stream, count)))
        else:
            yield Piece(file, list(islice(stream, count)))


def summary_of(path: Path, skip_empty: bool) -> Summary:
    """Check a collection; on the cluster, as hashes of all docids are held meanwhile."""
    return Collection(path, skip_empty).scan()


def facts(source: EncoderSource, how: How) -> tuple[int, str, str]:
    """Return dimension and hash of an encoder, and the number type that an actor computes in."""
    encoder = source.load()
    dtype = resolve_dtype(how.dtype, resolve_device(how.device))
    return encoder.dimension, encoder.weights_sha256(), str(dtype).removeprefix("torch.")


def absolute(source: EncoderSource) -> EncoderSource:
    """Return an encoder by the whole paths of its folders, as actors run elsewhere."""
    backbone = Path(source.card.backbone)
    card = dataclasses.replace(source.card, backbone=str(backbone.resolve())) if backbone.is_dir() else source.card
    return dataclasses.replace(source, card=card, folder=source.folder.resolve() if source.folder else None)


def how_of(options: Any) -> How:
    """Return how documents are encoded, of `EncodeOptions`."""
    return How(options.batch_size, options.device, options.dtype)
