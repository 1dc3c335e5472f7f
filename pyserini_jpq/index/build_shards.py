"""Build an index in shards: one quantizer, then an ordinary index of consecutive documents for each shard."""

import dataclasses
from pathlib import Path

from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.errors import QuantizerError
from pyserini_jpq.files import remove
from pyserini_jpq.index.build import Texts, build_from, build_opq
from pyserini_jpq.index.encoders import check_document_encoder, moved_entry
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.index.options import IndexOptions
from pyserini_jpq.index.part import EmbeddingsPart
from pyserini_jpq.index.shards import ShardedIndex
from pyserini_jpq.index.shards_file import Shard, ShardList, name_of, together
from pyserini_jpq.index.writing import identity, new_index, put_into_place
from pyserini_jpq.trust.places import seen_from

_QUANTIZER = "quantizer"


def build_shards(
    embeddings: Embeddings,
    options: IndexOptions,
    output: Path,
    source: IndexFolder | None = None,
    overwrite: bool = False,
    any_encoder: bool = False,
    texts: Texts = None,
) -> None:
    """Build an index in `options.shards` shards; their codes are those of the unsharded index.

    An interrupted run goes on with the shard where it stopped.

    Parameters
    ----------
    embeddings
        [N, D] float32 on disk.
    options
        M, bits, sample, seed, number of shards, and whether blocks are written.
    output
        The folder to write.
    source
        The index to take quantizer and query encoder from; by default a quantizer is trained.
    overwrite, any_encoder, texts
        As in `build_from`.

    Raises
    ------
    JPQError
        As `build_opq` and `build_from`, or if there are fewer documents than shards.
    """
    number = options.shards or 1
    if number > embeddings.documents:
        raise QuantizerError(f"{embeddings.documents} documents for {number} shards; ask for fewer shards")
    settings = dataclasses.asdict(options) if source is None else {"from": source.manifest.files}
    work = {"embeddings": identity(embeddings), "shards": number, "settings": settings}
    if source is not None:
        check_document_encoder(source, embeddings, any_encoder)
    with new_index(output, work, overwrite) as folder:
        embeddings.check_docids()
        quantizer = trained_quantizer(embeddings, options, folder) if source is None else source.parts[0]
        names = [name_of(i) for i in range(number)]
        for i, name in enumerate(names):
            if not (folder / name).exists():
                part = EmbeddingsPart(embeddings, rows_of(i, number, embeddings.documents))
                # Encoders were compared above, or the quantizer is of these embeddings.
                build_from(quantizer, part, folder / name, False, True, options.blocks, texts)
        _list(folder, names, embeddings, source, output).write(folder)
        ShardedIndex(folder)
        if source is not None:
            source.check_unchanged()
        remove(folder / _QUANTIZER)
        put_into_place(folder, output)


def rows_of(shard: int, shards: int, documents: int) -> range:
    """Return the rows of a shard; shards are consecutive and of equal size."""
    return range(documents * shard // shards, documents * (shard + 1) // shards)


def trained_quantizer(embeddings: Embeddings, options: IndexOptions, folder: Path) -> IndexFolder:
    """Return an index in a folder, of the quantizer that is trained on all embeddings, of a few of their documents."""
    path = folder / _QUANTIZER
    if not path.exists():
        # Of additive codes a sample is at most half of all documents.
        few = EmbeddingsPart(embeddings, range(min(2 * options.sample, embeddings.documents)))
        build_opq(few, dataclasses.replace(options, blocks=False, shards=None), path)
    return IndexFolder(path)


def _list(
    folder: Path, names: list[str], embeddings: Embeddings, source: IndexFolder | None, output: Path
) -> ShardList:
    """Return the list of shards, with encoders as seen from the whole."""
    manifests = [IndexFolder(folder / name).manifest for name in names]
    documents = moved_entry(embeddings.encoder, embeddings.folder, output)
    queries = documents if source is None else moved_entry(source.manifest.query_encoder, source.path, output)
    whole = dataclasses.replace(
        manifests[0],
        document_encoder=documents,
        query_encoder=queries,
        embeddings=seen_from(output, embeddings.folder),
    )
    shards = [Shard.of(name, manifest) for name, manifest in zip(names, manifests, strict=True)]
    return ShardList(together(whole, shards), tuple(shards))
