"""Building an index as a function."""

from pathlib import Path

from pyserini_jpq.cluster import Cluster
from pyserini_jpq.data.collection import Collection
from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.encode.options import EncodeOptions
from pyserini_jpq.encode.source import find_encoder
from pyserini_jpq.index.build import build_from, build_opq
from pyserini_jpq.index.build_shards import build_shards
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.index.opening import open_folder
from pyserini_jpq.index.options import IndexOptions


def build_index(
    embeddings: str | Path | Embeddings,
    output: str | Path,
    *,
    options: IndexOptions | None = None,
    quantizer_of: str | Path | None = None,
    texts: str | Path | Collection | None = None,
    any_encoder: bool = False,
    threads: int | None = None,
    overwrite: bool = False,
    cluster: Cluster | None = None,
) -> IndexFolder:
    """Build an index folder from embeddings; the same call resumes an interrupted one.

    Memory holds the sample and one block of rows.

    Parameters
    ----------
    embeddings
        A folder of [N, D] float32 rows from `encode`.
    output
        The folder to write.
    options
        M, bits, kind of quantizer, sample, seed, shards, blocks, vectors.
    quantizer_of
        Folder or name of an index whose rotation, centroids and query encoder to use; codes are assigned with its
        initial centroids and scored with the trained ones.
    texts
        The encoded collection, by path or name, to keep its texts in the index.
    any_encoder
        Accept embeddings of another encoder than that index's.
    threads
        Most threads to use; all by default.
    overwrite
        Replace an existing index.
    cluster
        A Ray cluster that assigns the codes.

    Returns
    -------
    IndexFolder
        The index; `pyserini_jpq.Index` searches it.

    Raises
    ------
    QuantizerError
        If M does not divide D, or there are fewer documents than centroids.
    EmbeddingsError
        If the embeddings are incomplete, or a value is not finite.
    EncoderError
        If the embeddings are not of the document encoder of `quantizer_of`.
    OutputError
        If `output` exists and `overwrite` is false.

    Examples
    --------
    >>> import pyserini_jpq as jpq
    >>> folder = jpq.build_index(EMBEDDINGS, FOLDER / "opq-m4", options=jpq.IndexOptions(m=4))
    >>> folder.manifest.bytes_per_document
    4
    """
    options, output = IndexOptions.of(options), Path(output)
    use_threads(threads)
    rows = embeddings if isinstance(embeddings, Embeddings) else Embeddings(embeddings)
    source = None if quantizer_of is None else open_folder(quantizer_of)
    if cluster is not None:
        from pyserini_jpq.index.pieces import NewIndex, assign_on_cluster

        new = NewIndex(output, options, overwrite, any_encoder, texts)
        new.check()
        return assign_on_cluster(cluster, rows, source, new)
    if options.shards is not None:
        build_shards(rows, options, output, source, overwrite, any_encoder, texts)
    elif source is None:
        build_opq(rows, options, output, overwrite, texts)
    else:
        kept = options.blocks, texts, options.keep_vectors
        build_from(source.parts[0], rows, output, overwrite, any_encoder, *kept)
    return open_folder(output)


def encode_index(
    corpus: str | Path,
    encoder: str | Path,
    output: str | Path,
    *,
    quantizer_of: str | Path | None = None,
    cluster: Cluster,
    options: IndexOptions | None = None,
    encode_options: EncodeOptions | None = None,
    texts: str | Path | Collection | None = None,
    any_encoder: bool = False,
    overwrite: bool = False,
) -> IndexFolder:
    """Encode a collection on a cluster and build its index, without keeping embeddings; the same call resumes it.

    With the quantizer of another index codes are assigned where documents are encoded. Else embeddings are on disk
    until a quantizer is trained on a sample of them and codes are assigned.

    Parameters
    ----------
    corpus
        A file, a folder, or the name of a collection.
    encoder
        The document encoder: the name of a card, a folder, or a Hugging Face name.
    output, quantizer_of, texts, any_encoder, overwrite
        As in `build_index`.
    cluster
        The cluster.
    options
        As in `build_index`; no vectors are kept.
    encode_options
        Batch size, device and number type.

    Raises
    ------
    JPQError
        As `encode` and `build_index`.
    """
    from pyserini_jpq.download.collection import find_corpus
    from pyserini_jpq.encode.pieces import how_of
    from pyserini_jpq.index.pieces import NewIndex, encode_and_assign, encode_then_assign

    encoding, new = (
        EncodeOptions.of(encode_options),
        NewIndex(Path(output), IndexOptions.of(options), overwrite, any_encoder, texts),
    )
    new.check()
    collection = Collection(find_corpus(str(corpus)), encoding.skip_empty)
    source = find_encoder(str(encoder))
    if quantizer_of is None:
        return encode_then_assign(cluster, collection, source, how_of(encoding), new)
    return encode_and_assign(cluster, collection, source, open_folder(quantizer_of), how_of(encoding), new)


def use_threads(threads: int | None) -> None:
    """Set the number of faiss's threads in this thread; None keeps all."""
    import faiss

    if threads:
        faiss.omp_set_num_threads(threads)
