"""Build an index on a cluster: codes are assigned beside the encoder, or of embeddings that are there."""

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq.bars import Progress
from pyserini_jpq.cluster import Cluster
from pyserini_jpq.data.collection import Collection
from pyserini_jpq.encode.document import Shard
from pyserini_jpq.encode.embeddings import SCHEMA, Embeddings, computed_by
from pyserini_jpq.encode.pieces import (
    EncodeWorker,
    How,
    Piece,
    absolute,
    encode_on_cluster,
    facts,
    pieces_of,
    summary_of,
)
from pyserini_jpq.encode.row_files import RowFile
from pyserini_jpq.encode.source import EncoderSource
from pyserini_jpq.errors import QuantizerError
from pyserini_jpq.files import beside, exclusive, partial_folder, refuse_existing, remove, save_array
from pyserini_jpq.index.assign import assigner_of, assigning_quantizer
from pyserini_jpq.index.build import Texts, build_from, checked_settings
from pyserini_jpq.index.build_shards import build_shards, trained_quantizer
from pyserini_jpq.index.encoders import check_document_encoder
from pyserini_jpq.index.faiss_format import quantizer_of
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.index.opening import open_folder
from pyserini_jpq.index.options import IndexOptions
from pyserini_jpq.index.part import EmbeddingsPart
from pyserini_jpq.index.writing import BLOCK, begun, identity, marker_of


class Coder:
    """Assigns the codes of embeddings and keeps them in files.

    Parameters
    ----------
    index
        The index whose quantizer assigns them.
    folder
        The folder of the codes.
    """

    def __init__(self, index: Path, folder: Path) -> None:
        source = open_folder(index).parts[0]
        quantizer = assigning_quantizer(source, quantizer_of(source.read(mapped=True), source.path))
        self._assigner, self._folder = assigner_of(quantizer), folder

    def write(self, file: RowFile, blocks: Iterable[np.ndarray]) -> None:
        """Write codes and docids of a file of rows, given in blocks [n, D] float32, if they are not there."""
        codes = within(self._folder, file)
        if codes.npy.is_file():
            return
        assigned = np.concatenate([self._assigner.assign(block) for block in blocks])
        with beside(codes.npy) as partial:
            save_array(partial, assigned)
            codes.docid.write_bytes(file.docid.read_bytes())
            partial.rename(codes.npy)


class AssignWorker:
    """Assigns the codes of embeddings in the process of an actor, file by file.

    Parameters
    ----------
    index, codes
        As for `Coder`.
    embeddings
        The folder of the embeddings.
    """

    def __init__(self, index: Path, codes: Path, embeddings: Path) -> None:
        self._coder, self._embeddings = Coder(index, codes), Embeddings(embeddings)

    def do(self, piece: RowFile) -> int:
        """Write codes and docids of a file, and return its number of rows."""
        rows = EmbeddingsPart(self._embeddings, range(piece.start, piece.start + piece.rows))
        self._coder.write(piece, rows.blocks(BLOCK))
        return piece.rows


class CodeWorker(EncodeWorker):
    """Encodes pieces of a collection in the process of an actor, and keeps their codes only.

    Parameters
    ----------
    source, how
        As for `EncodeWorker`.
    index, codes
        As for `Coder`.
    """

    def __init__(self, source: EncoderSource, how: How, index: Path, codes: Path) -> None:
        super().__init__(source, how)
        self._coder = Coder(index, codes)

    def do(self, piece: Piece) -> int:
        """Write codes and docids of a piece; return the number of documents."""
        count = super().do(piece)
        self._coder.write(piece.file, [np.load(piece.file.npy)])
        for file in (piece.file.npy, piece.file.docid):
            file.unlink(missing_ok=True)
        return count


class CodedDocuments(Embeddings):
    """The codes of a collection in files, in the place of its embeddings; docids were checked on the cluster.

    Parameters
    ----------
    folder
        The folder of the embeddings.
    manifest
        What `embeddings.json` says, or would say.
    files
        The files of codes.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any], files: Sequence[RowFile]) -> None:
        self.folder, self.manifest, self.encoder = folder, manifest, manifest["encoder"]
        self.documents, self.dimension = manifest["documents"], manifest["dimension"]
        self._files = list(files)
        self.computed = computed_by(manifest)
        self._coded = True
        self._map = lambda file: np.load(file.npy, mmap_mode="r")

    def check_docids(self) -> None:
        """Return, as checking them again would hold something of each here."""


@dataclasses.dataclass(frozen=True)
class NewIndex:
    """The index to build; as in `build_index`."""

    output: Path
    options: IndexOptions
    overwrite: bool = False
    any_encoder: bool = False
    texts: Texts = None

    def check(self) -> None:
        """Raise JPQError if it cannot be built here, before hours go into it."""
        refuse_existing(self.output, self.overwrite, marker_of(self.output))
        if self.options.keep_vectors is not None:
            raise QuantizerError(
                "no vectors are kept on a cluster; build the index, then give --index, --embeddings and --keep-vectors"
            )

    @contextlib.contextmanager
    def pieces(self, work: dict[str, Any]) -> Iterator[Path]:
        """Yield the folder of pieces of the same work, which goes when all is done.

        It stays after an error, too: it holds hours of encoding.
        """
        place = self.output.with_name(f"{self.output.name}.pieces")
        with exclusive(place):
            folder = begun(partial_folder(place), work).resolve()
            (folder / "codes").mkdir(exist_ok=True)
            yield folder
            remove(folder)

    def write(self, coded: CodedDocuments, source: IndexFolder) -> IndexFolder:
        """Write the index of coded documents, whose encoder was compared with that of the source before."""
        how = self.overwrite, True
        if self.options.shards is not None:
            build_shards(coded, self.options, self.output, source, *how, self.texts)
        else:
            whole = EmbeddingsPart(coded, range(coded.documents))
            build_from(source.parts[0], whole, self.output, *how, self.options.blocks, self.texts)
        return open_folder(self.output)


def encode_and_assign(
    cluster: Cluster, collection: Collection, encoder: EncoderSource, source: IndexFolder, how: How, new: NewIndex
) -> IndexFolder:
    """Build an index of a collection with the quantizer of another, encoding and assigning codes on a cluster.

    The index is that of `encode` and `build_index`, byte for byte on machines of one kind. An interrupted run goes on
    where it stopped.

    Parameters
    ----------
    cluster
        The cluster, whose machines see the folder of the output and `source` under the same paths.
    collection
        The documents.
    encoder
        Their encoder.
    source
        The index to take rotation, centroids and query encoder from.
    how
        Batch size, device and number type of the encoder.
    new
        The index to build.

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
        "encoder": encoder.entry(sha256, new.output),
        "collection_sha256": summary.sha256,
    }
    with new.pieces({"from": source.manifest.files, "embeddings": manifest}) as folder:
        codes = folder / "codes"
        windows = [dataclasses.replace(file, rows=rows) for file, rows in Shard().files(folder, summary.documents)]
        coded = CodedDocuments(folder, manifest, [within(codes, file) for file in windows])
        check_document_encoder(source, coded, new.any_encoder)

        def is_there(file: RowFile) -> bool:
            return within(codes, file).npy.is_file()

        with Progress(total=summary.documents, desc="encoding", unit=" documents") as progress:
            pieces = pieces_of(collection, folder, summary.documents, progress, is_there)
            for count in cluster.map(CodeWorker, (absolute(encoder), how, source.path.resolve(), codes), pieces):
                progress.update(count)
        return new.write(coded, source)


def encode_then_assign(
    cluster: Cluster, collection: Collection, encoder: EncoderSource, how: How, new: NewIndex
) -> IndexFolder:
    """Build an index of a collection with a quantizer of its own, encoding and assigning codes on a cluster.

    Embeddings are kept until all codes are assigned, as the quantizer is trained on a sample of all documents.
    Parameters and errors as for `encode_and_assign`.
    """
    place = partial_folder(new.output.with_name(f"{new.output.name}.embeddings"))
    dimension, *_ = cluster.call(facts, absolute(encoder), how)
    many = {"documents": 2 * new.options.sample, "dimension": dimension, "encoder": {}}
    checked_settings(CodedDocuments(place, many, []), new.options)  # before hours go into encoding
    embeddings = encode_on_cluster(cluster, collection, encoder, place, how, overwrite=True, keep_complete=True)
    index = assign_on_cluster(cluster, embeddings, None, new)
    remove(place)
    return index


def assign_on_cluster(
    cluster: Cluster, embeddings: Embeddings, source: IndexFolder | None, new: NewIndex
) -> IndexFolder:
    """Build an index of embeddings, whose codes are assigned on a cluster.

    Parameters
    ----------
    cluster
        The cluster, whose machines see the folders of the embeddings and of the output under the same paths.
    embeddings
        The embeddings.
    source
        The index to take rotation, centroids and query encoder from; by default a quantizer is trained, here.
    new
        The index to build.

    Raises
    ------
    JPQError
        As `build_opq` and `build_from`.
    """
    if source is None:
        settings = checked_settings(embeddings, new.options)
    else:
        check_document_encoder(source, embeddings, new.any_encoder)
        settings = {"from": source.manifest.files}
    with new.pieces({"embeddings": identity(embeddings), "settings": settings}) as folder:
        place, codes = embeddings.folder.resolve(), folder / "codes"
        cluster.call(check_docids_of, place)
        quantizer = trained_quantizer(embeddings, new.options, folder) if source is None else source
        coded = CodedDocuments(embeddings.folder, embeddings.manifest, [within(codes, f) for f in embeddings.files])
        with Progress(total=embeddings.documents, desc="assigning codes", unit=" documents") as progress:
            todo = [file for file in embeddings.files if not within(codes, file).npy.is_file()]
            progress.update(embeddings.documents - sum(file.rows for file in todo))
            pieces = (dataclasses.replace(file, npy=place / file.npy.name) for file in todo)
            for count in cluster.map(AssignWorker, (quantizer.path.resolve(), codes, place), pieces):
                progress.update(count)
        return new.write(coded, quantizer)


def check_docids_of(embeddings: Path) -> None:
    """Check the docids of embeddings; on the cluster, as hashes of all are held meanwhile."""
    Embeddings(embeddings).check_docids()


def within(folder: Path, file: RowFile) -> RowFile:
    """Return the file of the same rows in a folder."""
    return dataclasses.replace(file, npy=folder / file.npy.name)
