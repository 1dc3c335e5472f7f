"""Build an index: train a quantizer on a sample or take another index's, then assign codes block by block."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq.data.collection import Collection
from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.errors import JPQError, QuantizerError
from pyserini_jpq.files import check_regular, remove, save_array
from pyserini_jpq.index.assign import assigner_of, assigning_quantizer
from pyserini_jpq.index.encoders import check_document_encoder, document_entry, moved_entry
from pyserini_jpq.index.faiss_format import quantizer_of
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.index.manifest import INITIAL_CENTROIDS, Manifest
from pyserini_jpq.index.opq import check_parts, check_shape, default_parts, train_opq
from pyserini_jpq.index.options import IndexOptions
from pyserini_jpq.index.texts import new_texts
from pyserini_jpq.index.vectors import new_vectors
from pyserini_jpq.index.writing import (
    assigned,
    carry_assignment,
    finish,
    identity,
    new_index,
    write_codes,
    write_docids,
)
from pyserini_jpq.quantizer import ProductQuantizer
from pyserini_jpq.trust.places import seen_from

_ROTATION = "rotation.npy"
_STATE = "opq.npz"
_SCORED = 16384
"""Documents that the weight of biases is fitted to."""


Texts = str | Path | Collection | None
"""A collection whose texts are kept in the index, by path or name, or opened."""


def build_opq(
    embeddings: Embeddings, options: IndexOptions, output: Path, overwrite: bool = False, texts: Texts = None
) -> None:
    """Train a quantizer on embeddings and build an index folder.

    Memory holds the sample and one block. An interrupted run leaves quantizer and codes beside the output, and the
    next run resumes from them.

    Parameters
    ----------
    embeddings
        [N, D] float32 on disk.
    options
        M, bits, kind of quantizer, sample, seed, and what is kept besides: blocks, vectors.
    output
        The folder to write.
    overwrite
        Replace an existing index.
    texts
        The encoded collection, to keep its texts.

    Raises
    ------
    QuantizerError
        If M does not divide D, or there are fewer documents than centroids.
    EmbeddingsError
        If an embedding is not finite, or a docid is repeated or not usable in a run.
    OutputError
        If `output` exists and `overwrite` is false, or another process writes it.
    """
    settings = checked_settings(embeddings, options)
    with new_index(output, {"embeddings": identity(embeddings), "settings": settings}, overwrite) as folder:
        embeddings.check_docids()
        assigning = _quantizer(embeddings, settings, folder)
        quantizer = _scoring(assigning, embeddings, options.seed)
        write_codes(folder, quantizer, embeddings.documents, assigned(embeddings, assigner_of(assigning)))
        write_docids(folder, embeddings.docids())
        new_texts(folder, embeddings.docids(), texts)
        new_vectors(folder, embeddings, options.keep_vectors)
        manifest = Manifest(
            documents=embeddings.documents,
            dimension=quantizer.dimension,
            m=quantizer.m,
            bits=quantizer.bits,
            bytes_per_document=quantizer.bytes_per_document,
            document_encoder=document_entry(embeddings, output),
            query_encoder=moved_entry(embeddings.encoder, embeddings.folder, output),
            embeddings=seen_from(output, embeddings.folder),
            parts=quantizer.parts if quantizer.additive else None,
        )
        (folder / _ROTATION).unlink()
        finish(folder, manifest, output, options.blocks)


def build_from(
    index: IndexFolder,
    embeddings: Embeddings,
    output: Path,
    overwrite: bool = False,
    any_encoder: bool = False,
    blocks: bool = True,
    texts: Texts = None,
    vectors: str | None = None,
) -> None:
    """Build an index of other documents with the quantizer and the query encoder of an index (zero-shot).

    Codes are assigned with the initial centroids and scored with the trained ones.

    Parameters
    ----------
    index
        The index to take rotation, centroids and query encoder from.
    embeddings
        [N, D] float32 on disk, of the document encoder of that index.
    output, overwrite, texts
        As in `build_opq`.
    any_encoder
        Accept embeddings of another or an unknown encoder.
    blocks
        Write blocks, for a faster search.
    vectors
        Keep vectors of this number type, `int8` or `float16`.

    Raises
    ------
    EncoderError
        If the embeddings are not of the index's document encoder.
    IndexFolderError
        If the initial centroids are unknown, or another process has changed the index meanwhile.
    OutputError
        If `output` exists and `overwrite` is false, or another process writes it.
    """
    check_document_encoder(index, embeddings, any_encoder)
    scoring = quantizer_of(index.read(mapped=True), index.path)
    assigner = assigner_of(assigning_quantizer(index, scoring))
    with new_index(output, {"from": index.manifest.files, "embeddings": identity(embeddings)}, overwrite) as folder:
        embeddings.check_docids()
        write_codes(folder, scoring, embeddings.documents, assigned(embeddings, assigner))
        write_docids(folder, embeddings.docids())
        new_texts(folder, embeddings.docids(), texts)
        new_vectors(folder, embeddings, vectors)
        carry_assignment(index, folder)
        training = index.manifest.training
        manifest = dataclasses.replace(
            index.manifest,
            documents=embeddings.documents,
            document_encoder=document_entry(embeddings, output),
            query_encoder=moved_entry(index.manifest.query_encoder, index.path, output),
            training={**training, "trained_on": index.path.resolve().name} if training else None,
            embeddings=seen_from(output, embeddings.folder),
        )
        finish(folder, manifest, output, blocks, index.check_unchanged)


def checked_settings(embeddings: Embeddings, options: IndexOptions) -> dict[str, Any]:
    """Return the options that determine the quantizer, by name; raise QuantizerError if it cannot be trained."""
    names = ("m", "bits", "sample", "seed", "quantizer", "parts")
    settings = {name: getattr(options, name) for name in names}
    if options.quantizer == "additive":
        parts = options.parts or default_parts(embeddings.dimension, options.m)
        sample = min(options.sample, embeddings.documents // 2)
        check_parts(embeddings.dimension, options.m, parts, options.bits, sample)
        return {**settings, "parts": parts, "sample": sample}
    if options.parts is not None:
        raise QuantizerError("--parts goes with --quantizer additive")
    check_shape(embeddings.dimension, options.m, options.bits, min(embeddings.documents, options.sample))
    return settings


def _scoring(assigning: ProductQuantizer, embeddings: Embeddings, seed: int) -> ProductQuantizer:
    """Return the quantizer that scores: the one that assigns codes, or of additive codes one with biases."""
    if not assigning.additive:
        return assigning
    from pyserini_jpq.index.additive_scoring import scoring_quantizer

    return scoring_quantizer(assigning, embeddings.sample(_SCORED, seed + 1), seed)


def _quantizer(embeddings: Embeddings, settings: dict[str, Any], folder: Path) -> ProductQuantizer:
    try:
        for name in (_ROTATION, INITIAL_CENTROIDS):
            check_regular(folder / name)
        return ProductQuantizer(np.load(folder / _ROTATION), np.load(folder / INITIAL_CENTROIDS))
    except (JPQError, OSError, ValueError, EOFError):
        pass
    m, bits, seed, state = settings["m"], settings["bits"], settings["seed"], folder / _STATE
    sample = embeddings.sample(settings["sample"], seed)
    if settings["quantizer"] == "additive":
        from pyserini_jpq.index.additive_training import train_additive

        quantizer = train_additive(sample, m, settings["parts"], bits, seed, state=state)
    else:
        quantizer = train_opq(sample, m, bits, seed, state=state)
    save_array(folder / _ROTATION, quantizer.rotation)
    save_array(folder / INITIAL_CENTROIDS, quantizer.centroids)
    remove(folder / _STATE)
    return quantizer
