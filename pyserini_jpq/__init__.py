"""JPQ for Pyserini: dense retrieval at a few bytes a document, the query encoder trained together with the index.

Importing it starts no JVM and loads no torch: each name is imported on first use.
"""

import importlib
from typing import TYPE_CHECKING, Any

from pyserini_jpq.compat.hook import install_import_hook

if TYPE_CHECKING:
    from pyserini_jpq.api import Hit as Hit
    from pyserini_jpq.api import Index as Index
    from pyserini_jpq.encode.options import EncodeOptions as EncodeOptions
    from pyserini_jpq.encode.options import EncoderChanges as EncoderChanges
    from pyserini_jpq.errors import JPQError as JPQError
    from pyserini_jpq.index.options import IndexOptions as IndexOptions
    from pyserini_jpq.index.run import build_index as build_index
    from pyserini_jpq.search.encoder import JPQQueryEncoder as JPQQueryEncoder
    from pyserini_jpq.search.searcher import JPQFaissSearcher as JPQFaissSearcher

__version__ = "0.2.0"

_ROOMS = ("convert", "encode", "evaluate", "search", "train")
_HOMES = {
    "Hit": "api",
    "Index": "api",
    "Comparison": "evaluate.runs",
    "Cluster": "cluster",
    "ClusterOptions": "cluster",
    "ConvertOptions": "convert.run",
    "EncodeOptions": "encode.options",
    "EncoderChanges": "encode.options",
    "IndexOptions": "index.options",
    "JPQFaissSearcher": "search.searcher",
    "JPQQueryEncoder": "search.encoder",
    "SearchOptions": "search.options",
    "TrainOptions": "train.options",
    "build_index": "index.run",
    "progress": "bars",
}
_ERRORS = (
    *("CollectionError", "ConversionError", "DownloadError", "EmbeddingsError", "EncoderError", "ExperimentError"),
    *("IndexFolderError", "InstallationError", "JPQError", "OutputError", "QuantizerError", "RunError"),
    *("TopicsError", "TrainingError"),
)
__all__ = [*sorted([*_ROOMS, *_HOMES, *_ERRORS])]

install_import_hook()


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"{__name__}.{name}")
    home = _HOMES.get(name) or ("errors" if name in _ERRORS else None)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
