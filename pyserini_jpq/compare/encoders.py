"""The query encoder of an index folder, or of a folder of embeddings."""

from pathlib import Path

from pyserini_jpq.encode.embeddings import MANIFEST, Embeddings
from pyserini_jpq.encode.source import EncoderSource, noted_encoder
from pyserini_jpq.index.encoders import query_encoder_source
from pyserini_jpq.index.opening import open_folder


def query_encoder(folder: Path) -> EncoderSource:
    """Return the query encoder of an index folder or of a folder of embeddings.

    Raises
    ------
    EncoderError, EmbeddingsError, IndexFolderError
        If the folder names none, or its encoder is missing.
    """
    if (folder / MANIFEST).is_file():
        entry = Embeddings(folder).encoder
        return noted_encoder(entry, str(folder))
    return query_encoder_source(open_folder(folder))


def encoder_key(folder: Path) -> str:
    """Return a unique name for a folder's query encoder that can be a file name."""
    is_flat = (folder / MANIFEST).is_file()
    entry = Embeddings(folder).encoder if is_flat else open_folder(folder).manifest.query_encoder
    return f"{str(entry['name']).replace('/', '_')}-{str(entry['sha256'])[:12]}"
