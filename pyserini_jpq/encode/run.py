"""Encoding as a function."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pyserini_jpq.cluster import Cluster
from pyserini_jpq.data.collection import Collection
from pyserini_jpq.data.documents import Documents, spooled
from pyserini_jpq.data.source import open_collection
from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.encode.options import EncodeOptions, EncoderChanges
from pyserini_jpq.encode.source import EncoderSource, find_encoder
from pyserini_jpq.errors import OutputError
from pyserini_jpq.trust.places import remember_folder


def encode(
    corpus: str | Path | Documents,
    encoder: str | Path | EncoderSource,
    output: str | Path,
    *,
    options: EncodeOptions | None = None,
    changes: EncoderChanges | None = None,
    overwrite: bool = False,
    cluster: Cluster | None = None,
) -> Embeddings | None:
    """Encode documents into a folder of embeddings; the same call resumes an interrupted one.

    Parameters
    ----------
    corpus
        A JSONL or TSV file, a folder of them, or the name of a collection; or documents: a mapping of docids to texts,
        or an iterable of `(docid, text)` pairs or of mappings with `id`, `title` and `text`. An iterable is read once
        and never held in memory.
    encoder
        The name of a card, a folder, or a Hugging Face name.
    output
        The folder to write.
    options
        Batch size, device, number type, backend, shard.
    changes
        The description of an encoder without a card, or changes to its card.
    overwrite
        Replace existing embeddings.
    cluster
        A Ray cluster that encodes the documents in pieces.

    Returns
    -------
    Embeddings
        The opened folder: [N, D] float32 rows; None for one shard of several.

    Raises
    ------
    CollectionError
        If a document cannot be used.
    EncoderError
        If the encoder cannot be found or loaded.
    JPQError, InstallationError
        If device or backend cannot be used here.
    OutputError
        If `output` is complete, or was begun with other settings.

    Examples
    --------
    >>> import pyserini_jpq as jpq
    >>> embeddings = jpq.encode({"d1": "a first text", "d2": "a second one"}, ENCODER, FOLDER / "embeddings")
    >>> embeddings.documents
    2
    """
    options, output = EncodeOptions.of(options), Path(output)
    changes = EncoderChanges.of(changes)
    if changes.tokenizer and Path(changes.tokenizer).is_dir():
        remember_folder(Path(changes.tokenizer))
    source = encoder if isinstance(encoder, EncoderSource) else find_encoder(str(encoder))
    source = source.with_changes(changes.as_changes())
    if cluster is not None and options.shard_num > 1:
        raise OutputError("a cluster encodes the whole collection; leave shards out")
    with _collection(corpus, options.skip_empty, output) as collection:
        if cluster is not None:
            from pyserini_jpq.encode.pieces import encode_on_cluster, how_of

            return encode_on_cluster(cluster, collection, source, output, how_of(options), overwrite)
        collection.scan()  # checked before torch is imported, which takes seconds

        from pyserini_jpq.encode.document import Shard, encode_collection
        from pyserini_jpq.encode.precision import resolve_device, resolve_dtype

        is_torch = options.encoder_backend == "torch"
        device = resolve_device(options.device if is_torch or options.device != "auto" else "cpu")
        loaded = source.load().to(device)
        encode_collection(
            collection,
            loaded,
            source.entry(loaded.weights_sha256(), output),
            output,
            shard=Shard(options.shard_id, options.shard_num),
            batch_size=options.batch_size,
            dtype=resolve_dtype(options.dtype if is_torch else "float32", device),
            backend=options.encoder_backend,
            overwrite=overwrite,
        )
    return Embeddings(output) if options.shard_num == 1 else None


@contextlib.contextmanager
def _collection(corpus: Any, skip_empty: bool, output: Path) -> Iterator[Collection]:
    """Open a collection; documents in memory are written to a temporary file beside the output."""
    if isinstance(corpus, str | Path):
        yield open_collection(corpus, skip_empty)
    elif isinstance(corpus, Mapping | Iterable):
        if not output.name:
            raise OutputError(f"{output} has no name; give the folder to write")
        with spooled(corpus, output) as path:
            yield Collection(path, skip_empty)
    else:
        raise OutputError(f"documents are a path, a mapping or an iterable, not {type(corpus).__name__}")
