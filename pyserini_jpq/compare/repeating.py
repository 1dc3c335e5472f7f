"""All that is needed to repeat a report: versions, hardware, command, seeds, hashes."""

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

from pyserini_jpq.compare.request import Request
from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.evaluate.metrics import Qrels
from pyserini_jpq.files import sha256_of
from pyserini_jpq.index.folder import INDEX, IndexFolder

_PACKAGES = (
    *("pyserini_jpq", "pyserini", "numpy", "scipy", "torch", "transformers", "faiss-cpu", "faiss-gpu", "scann"),
    *("hnswlib", "annoy", "scikit-learn", "matplotlib", "ir_measures", "pytrec_eval-terrier"),
)


def machine() -> dict[str, Any]:
    """Return the processor, its cores, the memory in GiB, and the system."""
    model = _value(Path("/proc/cpuinfo"), "model name") or platform.processor() or platform.machine()
    memory = _value(Path("/proc/meminfo"), "MemTotal")
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gib": round(int(memory.split()[0]) / (1 << 20), 1) if memory else None,
        "system": f"{platform.system()} {platform.release()}",
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that are here."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def inputs(request: Request, qrels: Qrels) -> dict[str, Any]:
    """Return what went in: hashes of files, and sizes."""
    embeddings = Embeddings(request.embeddings)
    files = {"topics": request.topics, "qrels": request.qrels, "bm25": request.bm25, **request.runs}
    files |= {"train topics": request.train_topics, "train qrels": request.train_qrels}
    return {
        "documents": embeddings.documents,
        "dimension": embeddings.dimension,
        "queries": len(qrels),
        "collection_sha256": embeddings.manifest.get("collection_sha256"),
        "encoder_sha256": embeddings.encoder["sha256"],
        "index_sha256": {path.name: IndexFolder(path).manifest.files[INDEX]["sha256"] for path in request.indexes},
        "encoders_of_indexes": {
            path.name: IndexFolder(path).manifest.query_encoder["sha256"] for path in request.indexes
        },
        "sha256": {name: sha256_of(Path(file)) for name, file in files.items() if file and Path(file).is_file()},
    }


def _value(file: Path, name: str) -> str | None:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), None)
