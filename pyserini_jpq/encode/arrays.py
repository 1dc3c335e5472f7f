"""Write vectors that were computed elsewhere as a folder of embeddings."""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq.encode.embeddings import MANIFEST, SCHEMA, Embeddings
from pyserini_jpq.encode.row_files import row_file
from pyserini_jpq.encode.source import find_encoder
from pyserini_jpq.errors import EmbeddingsError
from pyserini_jpq.files import new_folder, save_array, write_json_atomically, write_text_atomically
from pyserini_jpq.quantizer import Floats

ROWS = 1 << 18
"""Rows per file: 400 MB at 384 dimensions."""


def write_embeddings(
    vectors: Floats,
    ids: Iterable[Any] | None,
    folder: Path,
    encoder: str | Path | None = None,
    *,
    overwrite: bool = False,
) -> Embeddings:
    """Write vectors as a folder of embeddings, block by block; the array may be memory-mapped.

    Parameters
    ----------
    vectors
        [N, D], of any floating-point type; written as float32.
    ids
        N docids; by default the row numbers.
    folder
        The folder to write.
    encoder
        The encoder of the vectors: the name of a card, a folder, or a Hugging Face name. It is loaded for the hash of
        its weights. Without it an index of these embeddings can be searched by vectors only.
    overwrite
        Replace existing embeddings.

    Raises
    ------
    EmbeddingsError
        If the shape or the number of ids is wrong.
    EncoderError
        If the encoder cannot be loaded.
    OutputError
        If `folder` exists and `overwrite` is false.
    """
    if vectors.ndim != 2 or vectors.dtype.kind != "f" or not vectors.size:
        raise EmbeddingsError(f"vectors are {vectors.dtype} of shape {vectors.shape}; expected [N, D], floating-point")
    names = map(str, range(len(vectors)) if ids is None else ids)
    manifest = {
        "schema": SCHEMA,
        "documents": len(vectors),
        "dimension": vectors.shape[1],
        "encoder": _entry(encoder, vectors.shape[1], folder),
    }
    with new_folder(folder, overwrite, MANIFEST) as prepared:
        write_json_atomically(prepared / MANIFEST, manifest)
        for start in range(0, len(vectors), ROWS):
            file, block = row_file(prepared, start), vectors[start : start + ROWS]
            save_array(file.npy, np.asarray(block, dtype=np.float32))
            docids = list(islice(names, len(block)))
            if len(docids) < len(block):
                raise EmbeddingsError(f"{start + len(docids)} ids for {len(vectors)} vectors; give one for each")
            write_text_atomically(file.docid, "".join(f"{docid}\n" for docid in docids))
        if next(names, None) is not None:
            raise EmbeddingsError(f"more ids than the {len(vectors)} vectors; give one for each")
    return Embeddings(folder)


def _entry(encoder: str | Path | None, dimension: int, where: Path) -> dict[str, Any]:
    """Return the manifest's entry of the encoder."""
    if encoder is None:
        return {"name": None, "card": None, "sha256": None}
    source = find_encoder(str(encoder))
    loaded = source.load()
    if loaded.dimension != dimension:
        raise EmbeddingsError(f"{encoder} gives {loaded.dimension} dimensions, the vectors have {dimension}")
    return source.entry(loaded.weights_sha256(), where)
