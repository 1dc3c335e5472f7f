"""Encode a collection on a cluster and assign codes beside the encoder: embeddings are on disk a piece at a time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq.bars import Progress
from pyserini_jpq.cluster import Cluster
from pyserini_jpq.data.collection import Collection
from pyserini_jpq.encode.embeddings import SCHEMA, Embeddings, computed_by
from pyserini_jpq.encode.pieces import EncodeWorker, How, Piece, absolute, facts, pieces_of, summary_of
from pyserini_jpq.encode.row_files import RowFile
from pyserini_jpq.encode.source import EncoderSource
from pyserini_jpq.files import beside, exclusive, partial_folder, remove, save_array
from pyserini_jpq.index.assign import Assigner, assigning_quantizer
from pyserini_jpq.index.build import Texts, build_from
from pyserini_jpq.index.build_shards import build_shards
from pyserini_jpq.index.encoders import check_document_encoder
from pyserini_jpq.index.faiss_format import quantizer_of
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.index.opening import open_folder
from pyserini_jpq.index.options import IndexOptions
from pyserini_jpq.index.part import EmbeddingsPart
from pyserini_jpq.index.writing import begun

_CODES = "codes"


class CodeWorker(EncodeWorker):
    """Encodes pieces of a collection in the process of an actor, and keeps their codes only.

    Parameters
    ----------
    source, how
        As for `EncodeWorker`.
    index
        The index whose quantizer assigns the codes.
    """

    def __init__(self, source: EncoderSource, how: How, index: Path) -> None:
        super().__init__(source, how)
        self._assigner = assigner_of(open_folder(index).parts[0])

    def do(self, piece: Piece) -> int:
        """Write codes and docids of a piece; return the number of documents."""
        count = super().do(piece)
        codes = codes_file(piece.file)
        if not codes.npy.is_file():
            assigned = self._assigner.assign(np.load(piece.file.npy))
            with beside(codes.npy) as partial:
                save_array(partial, assigned)
                codes.docid.write_bytes(piece.file.docid.read_bytes())
                partial.rename(codes.npy)
        for file in (piece.file.npy, piece.file.docid):
            file.unlink(missing_ok=True)
        return count


class CodedDocuments(Embeddings):
    """The codes of a collection in files, in the place of its embeddings.

    Parameters
    ----------
    folder
        The folder of the files.
    manifest
        What `embeddings.json` would say.
    files
        The files with their numbers of rows.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any], files: Sequence[tuple[RowFile, int]]) -> None:
        self.folder, self.manifest, self.encoder = folder, manifest, manifest["encoder"]
        self.documents, self.dimension = manifest["documents"], manifest["dimension"]
        self._files = [RowFile(file.start, file.npy, rows) for file, rows in files]
        self.computed = computed_by(manifest)
        self._coded = True
        self._map = lambda file: np.load(file.npy, mmap_mode="r")


def index_on_cluster(
    cluster: Cluster,
    collection: Collection,
    encoder: EncoderSource,
    source: IndexFolder,
    output: Path,
    how: How,
    options: IndexOptions,
    *,
    overwrite: bool = False,
    any_encoder: bool = False,
    texts: Texts = None,
) -> IndexFolder:
    """Build an index of a collection with the quantizer of another, encoding and assigning codes on a cluster.

    The index is that of `encode` and `build_index`, byte for byte on machines of one kind. An interrupted run goes on
    where it stopped.

    Parameters
    ----------
    cluster
        The cluster, whose machines see the folder of `output` and `source` under the same paths.
    collection
        The documents.
    encoder
        Their encoder.
    source
        The index to take rotation, centroids and query encoder from.
    output
        The folder to write.
    how
        Batch size, device and number type of the encoder.
    options
        Number of shards, and whether blocks are written.
    overwrite, any_encoder, texts
        As in `build_from`.

    Raises
    ------
    JPQError
        As `encode` and `build_from`.
    """
    summary = cluster.call(summary_of, collection.path.resolve(), collection.skip_empty)
    dimension, sha256, dtype = cluster.call(facts, absolute(encoder), how)
    manifest = {
        "schema": SCHEMA,
        "documents": summary.documents,
        "dimension": dimension,
        "compute_dtype": dtype,
        "encoder": encoder.entry(sha256, output),
        "collection_sha256": summary.sha256,
    }
    place = output.with_name(f"{output.name}.pieces")
    with exclusive(place):
        # It stays after an error, too: it holds hours of encoding.
        folder = begun(partial_folder(place), {"from": source.manifest.files, "embeddings": manifest}).resolve()
        (folder / _CODES).mkdir(exist_ok=True)
        files = [(codes_file(file), rows) for file, rows in pieces_in(folder, summary.documents)]
        coded = CodedDocuments(folder, manifest, files)
        check_document_encoder(source, coded, any_encoder)
        with Progress(total=summary.documents, desc="encoding", unit=" documents") as progress:
            pieces = pieces_of(collection, folder, summary.documents, progress, lambda f: codes_file(f).npy.is_file())
            for count in cluster.map(CodeWorker, (absolute(encoder), how, source.path.resolve()), pieces):
                progress.update(count)
        if options.shards is not None:
            build_shards(coded, options, output, source, overwrite, any_encoder, texts)
        else:
            whole = EmbeddingsPart(coded, range(coded.documents))
            build_from(source.parts[0], whole, output, overwrite, any_encoder, options.blocks, texts)
        remove(folder)
    return open_folder(output)


def assigner_of(index: IndexFolder) -> Assigner:
    """Return what assigns codes as those of an index were."""
    return Assigner(assigning_quantizer(index, quantizer_of(index.read(mapped=True), index.path)))


def codes_file(file: RowFile) -> RowFile:
    """Return the file of the codes of a file of rows."""
    return RowFile(file.start, file.npy.parent / _CODES / file.npy.name)


def pieces_in(folder: Path, documents: int) -> list[tuple[RowFile, int]]:
    """Return the files of rows of a collection with their numbers of rows."""
    from pyserini_jpq.encode.document import Shard

    return Shard().files(folder, documents)
