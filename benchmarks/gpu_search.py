"""Ways to search on a GPU, beside ours: uncompressed vectors by torch and by faiss, and faiss's `IndexIVFPQ`."""

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks import shared
from benchmarks.data import random_quantizer
from benchmarks.gpu_run import Run, Search, guarded
from pyserini_jpq.quantizer import Floats
from pyserini_jpq.scan.blocks import best_of_blocks, lookup_tables

Searched = Callable[[Floats, int], tuple[Any, Any]]
"""Queries, [B, D] float32, and k, to scores and rows in main memory."""

_BLOCK = 1 << 16
_QUERIES = 256


def search(run: Run) -> None:
    """Search: from vectors in main memory to rows there; `floors`: how often all codes could be read meanwhile."""
    device, quantizer = run.device, random_quantizer(run.args.dimension, run.args.m, 8, np.random.default_rng(0))
    codes, rotation, centroids = (
        run.codes(),
        *(torch.tensor(x, device=device) for x in (quantizer.rotation, quantizer.centroids)),
    )
    ours = {name: partial(_by_tables, way, codes, rotation, centroids) for name, way in run.ways().items()}
    _compare(run, ours)
    table = shared.Printed("way", "queries", "k", "ms", "ms/query", "floors", first=26)
    others: dict[str, Callable[[], Searched]] = {
        "flat float16, torch": lambda: _flat(codes, rotation, centroids),
        "IVFPQ of one list, faiss": lambda: _ivfpq(run, codes, rotation, centroids),
        "flat, faiss": lambda: _faiss_flat(run, codes, rotation, centroids),
    }
    for name, make in {**{name: lambda way=way: way for name, way in ours.items()}, **others}.items():
        if run.over:
            print(f"{name} - (left out, the time is over)")
            continue
        with guarded(table, name):
            way = make()
            for queries, k in itertools.product(run.args.queries, run.args.hits):
                took = run.milliseconds(partial(way, run.vectors(queries), min(k, run.args.documents)))
                table.add(name, queries, k, f"{took:.2f}", f"{took / queries:.3f}", f"{took / run.floor:.2f}")
            del way
        if device.type == "cuda":
            torch.cuda.empty_cache()


def _compare(run: Run, ways: dict[str, Searched]) -> None:
    """Compare what our ways find among all documents."""
    vectors, k = run.vectors(32), min(1000, run.args.documents)
    first, *others = (way(vectors, k) for way in ways.values())
    for found in others:
        if not all(map(np.array_equal, first, found)):
            run.wrong.append("Triton and torch over all documents")
    if others:
        print(f"over all documents, 32 queries, k={k}: {'they DIFFER' if run.wrong else 'all of ours find the same'}")


def _by_tables(
    way: Search, codes: torch.Tensor, rotation: torch.Tensor, centroids: torch.Tensor, vectors: Floats, k: int
) -> tuple[Any, Any]:
    rotated = torch.from_numpy(vectors).to(codes.device) @ rotation.T
    scores, rows = way(codes, lookup_tables(rotated, centroids), k)
    return scores.cpu().numpy(), rows.cpu().numpy()


def _decoded(codes: torch.Tensor, centroids: torch.Tensor, start: int) -> torch.Tensor:
    """Return the rotated vectors of a block of documents, [n, D] float32."""
    block = codes[start : start + _BLOCK].int()
    return torch.cat([of_subspace[block[:, j]] for j, of_subspace in enumerate(centroids)], dim=1)


def _flat(codes: torch.Tensor, rotation: torch.Tensor, centroids: torch.Tensor) -> Searched:
    documents = torch.empty(len(codes), rotation.shape[0], dtype=torch.float16, device=codes.device)
    for start in range(0, len(codes), _BLOCK):
        documents[start : start + _BLOCK] = _decoded(codes, centroids, start)

    def best(vectors: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        blocks = ((vectors @ block.T).float() for block in documents.split(4 * _BLOCK))
        return best_of_blocks(blocks, rotation.new_empty(len(vectors), 0), k)

    def search(vectors: Floats, k: int) -> tuple[Any, Any]:
        rotated = (torch.from_numpy(vectors).to(codes.device) @ rotation.T).half()
        scores, rows = zip(*(best(part, k) for part in rotated.split(_QUERIES)), strict=True)
        return torch.cat(scores).cpu().numpy(), torch.cat(rows).cpu().numpy()

    return search


def _faiss(run: Run) -> Any:
    """Return faiss; raise ImportError where it has no GPUs, unless the CPU is measured."""
    import faiss

    if run.device.type == "cuda" and not getattr(faiss, "get_num_gpus", int)():
        raise ImportError("this faiss has no GPU support; the extra gpu has")
    return faiss


def _on_gpu(run: Run, faiss: Any, index: Any, float16: bool) -> Any:
    """Return an index copied to the GPU."""
    if run.device.type == "cpu":
        return index
    options = faiss.GpuClonerOptions()
    options.useFloat16 = float16  # of lookup tables: those of 96 subspaces do not fit otherwise
    return faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), run.device.index or 0, index, options)


def _ivfpq(run: Run, codes: torch.Tensor, rotation: torch.Tensor, centroids: torch.Tensor) -> Searched:
    """Return the search of the authors of JPQ: one inverted list around zero, so that residuals are the vectors."""
    faiss, d = _faiss(run), rotation.shape[0]
    coarse = faiss.IndexFlatIP(d)
    coarse.add(np.zeros((1, d), dtype=np.float32))
    index = faiss.IndexIVFPQ(coarse, d, 1, codes.shape[1], 8, faiss.METRIC_INNER_PRODUCT)
    faiss.copy_array_to_vector(centroids.cpu().numpy().ravel(), index.pq.centroids)
    index.is_trained = True
    own, ids = codes.cpu().contiguous().numpy(), np.arange(len(codes), dtype=np.int64)
    index.invlists.add_entries(0, len(own), faiss.swig_ptr(ids), faiss.swig_ptr(own))
    index.ntotal = len(own)
    whole = _on_gpu(run, faiss, index, float16=True)
    return lambda vectors, k: whole.search(_rotated(vectors, rotation), k)


def _faiss_flat(run: Run, codes: torch.Tensor, rotation: torch.Tensor, centroids: torch.Tensor) -> Searched:
    faiss, (documents, d) = _faiss(run), (len(codes), rotation.shape[0])
    if run.device.type == "cuda":
        config = faiss.GpuIndexFlatConfig()
        config.device = run.device.index or 0
        config.useFloat16 = 4 * documents * d > torch.cuda.mem_get_info(run.device)[0] // 2
        index = faiss.GpuIndexFlatIP(faiss.StandardGpuResources(), d, config)
    else:
        index = faiss.IndexFlatIP(d)
    for start in range(0, documents, _BLOCK):
        index.add(_decoded(codes, centroids, start).cpu().numpy())
    return lambda vectors, k: index.search(_rotated(vectors, rotation), k)


def _rotated(vectors: Floats, rotation: torch.Tensor) -> Floats:
    """Rotate queries where the rotation is, and bring them back."""
    rotated: Floats = (torch.from_numpy(vectors).to(rotation.device) @ rotation.T).cpu().numpy()
    return rotated
