"""`python -m pyserini_jpq.compare.worker TASK.json`: one step of a report in a process of its own.

So the memory of each engine is measured alone, threads are limited before libraries start, and an engine that crashes
loses its own row only.
"""

import importlib
import json
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq import cli
from pyserini_jpq.compare.baselines.base import Built, Settings, Supervision
from pyserini_jpq.compare.baselines.registry import ENGINES
from pyserini_jpq.compare.timer import TUNED, best_value, latency, measured, resident_bytes
from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.files import save_array, write_json_atomically
from pyserini_jpq.quantizer import Floats

OURS = "index"
"""The engine of a task that searches an index folder of ours."""

_BLOCK = 1 << 16
_SINGLES = 50
# Values of a search parameter beyond the first that is slower than this times the target are not tried.
_TOO_SLOW = 4


def main(argv: Sequence[str]) -> None:
    """Run the task; its `stage` is one of `STAGES`."""
    task = json.loads(Path(argv[0]).read_text(encoding="utf-8"))
    STAGES[task["stage"]](task)


def encode(task: dict[str, Any]) -> None:
    """Encode `texts` with the query encoder of `folder`, and time it for single queries."""
    import torch

    from pyserini_jpq.compare.encoders import query_encoder

    torch.set_num_threads(1)
    source = query_encoder(Path(task["folder"]))
    encoder = source.load()
    texts, output = task["texts"], Path(task["output"])
    with torch.inference_mode():
        parts = [encoder.encode_queries(texts[start : start + 64]).numpy() for start in range(0, len(texts), 64)]
        taken = measured(lambda i: encoder.encode_queries([texts[i]]), min(_SINGLES, len(texts)))
    save_array(output / "queries.npy", np.concatenate(parts))
    write_json_atomically(output / "encoded.json", taken)


def build(task: dict[str, Any]) -> None:
    """Build a baseline from `embeddings` and save it into the folder `output`."""
    engine = ENGINES[task["engine"]]
    vectors = np.concatenate(list(Embeddings(task["embeddings"]).blocks(_BLOCK)))
    learned_from = Supervision.load(Path(task["supervision"])) if engine.supervised else None
    started = time.perf_counter()
    built = engine.build(vectors, Settings(task["bytes"], task["seed"], Path(task["cache"]), learned_from))
    seconds = time.perf_counter() - started
    built.save(Path(task["output"]))
    write_json_atomically(Path(task["facts"]), {"build_seconds": seconds})


def search(task: dict[str, Any]) -> None:
    """Search an engine's `folder`: memory, latency at the parameter that meets `target_ms`, and hits of all queries."""
    queries: Floats = np.load(task["queries"])
    hits, output = min(task["hits"], task["documents"]), Path(task["output"])
    built, resident = _opened(task, queries, hits)
    facts: dict[str, Any] = {"resident_bytes": resident, "parameter": None, "tried": []}
    if task["engine"] != OURS and ENGINES[task["engine"]].parameters:
        facts["tried"] = _try(built, queries, task, hits)
        medians = {tried["effort"]: tried["latency"][task["timer"]]["median_ms"] for tried in facts["tried"]}
        facts["parameter"] = best_value(medians, task["target_ms"])
        built.set_parameter(facts["parameter"])
    facts["latency"] = latency(built.search, queries, hits)
    _save_hits(output / "hits.npz", built, queries, hits)
    write_json_atomically(output / "search.json", facts)


def _opened(task: dict[str, Any], queries: Floats, hits: int) -> tuple[Built, int | None]:
    """Open an engine; return it and the growth of resident memory while it is opened and searched."""
    folder = Path(task["folder"])
    _warm(queries)
    if task.get("device"):
        from pyserini_jpq.compare.ours import on_device

        return on_device(folder, task["device"]), None  # its memory is the device's
    if task["engine"] == OURS:
        ours: Any = importlib.import_module("pyserini_jpq.compare.ours")  # imported before memory is measured
        load: Any = partial(ours.load, rescore=task.get("rescore"))
    else:
        load = ENGINES[task["engine"]].load
        importlib.import_module(ENGINES[task["engine"]].module)
    before = resident_bytes()
    built: Built = load(folder)
    for query in queries[:8]:
        built.search(query[None], hits)
    after = resident_bytes()
    return built, None if before is None or after is None else max(0, after - before)


def _warm(queries: Floats) -> None:
    """Make faiss allocate what it allocates once, so that it does not count as an index's memory."""
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatIP(queries.shape[1])
    index.add(queries)
    index.search(queries[:1], 1)


def _try(built: Built, queries: Floats, task: dict[str, Any], hits: int) -> list[dict[str, Any]]:
    """Time rising values and save the hits of each, until one is far slower than the target or sees all documents."""
    tried = []
    for value in ENGINES[task["engine"]].parameters:
        built.set_parameter(value)
        taken = latency(built.search, queries, hits, TUNED)
        file = Path(task["output"]) / f"hits-{value}.npz"
        _save_hits(file, built, queries, hits)
        tried.append({"effort": value, "latency": taken, "hits": file.name})
        if value >= task["documents"] or taken[task["timer"]]["median_ms"] > _TOO_SLOW * task["target_ms"]:
            break
    return tried


def _save_hits(file: Path, built: Built, queries: Floats, hits: int) -> None:
    scores, rows = built.search(queries, hits)
    np.savez(file, scores=scores, rows=rows)


STAGES = {"encode": encode, "build": build, "search": search}

if __name__ == "__main__":
    sys.exit(cli.run(main))
