"""The exhaustive scan on a torch device: by Triton's kernels on a GPU where they work, else by torch."""

import importlib.util
from functools import cache

import numpy as np
import torch

from pyserini_jpq import cli
from pyserini_jpq.errors import first_line
from pyserini_jpq.scan.blocks import best_by_table
from pyserini_jpq.scan.scanner import turned_off

_MULTIPLE = 1024
"""What the length of a subspace's codes is a multiple of, so that the kernels need no mask to read them."""

_BLOCK = 1 << 20


def by_subspace(codes: torch.Tensor, device: torch.device | None = None) -> torch.Tensor:
    """Return the same codes, [N, M] uint8, laid out by subspace: documents that are neighbours are read together.

    Parameters
    ----------
    codes
        [N, M] uint8.
    device
        Where to put them; by default they stay where they are.
    """
    documents, m = codes.shape
    laid = torch.zeros(m, -(-documents // _MULTIPLE) * _MULTIPLE, dtype=torch.uint8, device=device or codes.device)
    for start in range(0, documents, _BLOCK):  # memory for a block of both layouts, not for all codes
        block = codes[start : start + _BLOCK]
        laid[:, start : start + len(block)] = block.to(laid.device).T
    return laid[:, :documents].T


def best_on_device(codes: torch.Tensor, tables: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the k documents with the largest sums of table entries, the earlier row first where sums are equal.

    Parameters
    ----------
    codes
        [N, M] uint8, as `by_subspace` lays them out.
    tables
        [B, M, K] float32, on the same device.
    k
        Number of hits.

    Returns
    -------
    scores : torch.Tensor
        [B, min(k, N)] float32, descending.
    rows : torch.Tensor
        [B, min(k, N)] int64.
    """
    if codes.device.type != "cuda" or turned_off() or not kernels_work(codes.device, tables.shape[2]):
        return best_by_table(codes, tables, k)
    from pyserini_jpq.scan.kernels import best_by_kernels

    return best_by_kernels(codes, tables, k)


@cache
def kernels_work(device: torch.device, entries: int) -> bool:
    """Return whether Triton is there and its kernels find what torch finds, for tables of so many entries."""
    if importlib.util.find_spec("triton") is None:
        return False
    try:
        from pyserini_jpq.scan.kernels import QUERIES

        right, problem = all(_agree(device, entries, queries) for queries in (1, QUERIES)), "they find other documents"
    except Exception as raised:  # a compiler, a driver and a GPU that nobody has tried together
        right, problem = False, first_line(raised)
    if not right:
        cli.warn(f"Triton's kernels do not work on {device} ({problem}); searching with torch, which takes longer")
    return right


def _agree(device: torch.device, entries: int, queries: int) -> bool:
    """Return whether kernels and torch find the same among random documents, each of which is there twice."""
    from pyserini_jpq.scan.kernels import best_by_kernels

    chance = np.random.default_rng(0)
    some = chance.integers(0, entries, (2000, 3), dtype=np.uint8)
    codes = by_subspace(torch.from_numpy(np.concatenate([some, some])), device)
    tables = torch.from_numpy(chance.normal(size=(queries, 3, entries)).astype(np.float32)).to(device)
    return all(map(torch.equal, best_by_kernels(codes, tables, 9), best_by_table(codes, tables, 9)))
