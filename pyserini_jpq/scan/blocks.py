"""The exhaustive scan in torch, for GPUs: block by block, so that memory holds the scores of one block only."""

from collections.abc import Iterable, Iterator

import torch

from pyserini_jpq.scan.order import keys, scores_and_rows

_BLOCK = 1 << 18


def lookup_tables(rotated: torch.Tensor, centroids: torch.Tensor) -> torch.Tensor:
    """Return the lookup tables of rotated queries, without biases.

    Parameters
    ----------
    rotated
        [B, D] float32.
    centroids
        [M, K, D/S] float32, as in `ProductQuantizer`.

    Returns
    -------
    torch.Tensor
        [B, M, K] float32.
    """
    parts = rotated.unflatten(1, (-1, centroids.shape[2]))  # of no queries, too
    books = centroids.reshape(parts.shape[1], -1, centroids.shape[2])
    return torch.einsum("bsd,sed->bse", parts, books).reshape(len(rotated), *centroids.shape[:2])


@torch.no_grad()
def best_by_table(codes: torch.Tensor, tables: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the k documents with the largest sums of table entries.

    Parameters
    ----------
    codes
        [N, M] uint8; they stay bytes but for one column of a block.
    tables
        [B, M, K] float32, on the same device.
    k
        Hits wanted.

    Returns
    -------
    scores : torch.Tensor
        [B, min(k, N)] float32, descending; of equal ones the earlier row first.
    rows : torch.Tensor
        [B, min(k, N)] int64.
    """
    return best_of_blocks(_sums(codes, tables), tables.new_empty(len(tables), 0), k)


def best_of_blocks(blocks: Iterable[torch.Tensor], none: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the k best documents of each query, of the scores of all documents in order, block by block.

    Parameters
    ----------
    blocks
        [B, n] float32 each.
    none
        [B, 0] float32: the scores of no documents.
    k
        Hits wanted.

    Returns
    -------
    scores : torch.Tensor
        [B, min(k, N)] float32, descending; of equal ones the earlier row first.
    rows : torch.Tensor
        [B, min(k, N)] int64.
    """
    best, start = none.long(), 0
    for block in blocks:
        rows = torch.arange(start, start + block.shape[1], device=block.device)
        best = torch.cat([best, keys(block, rows)], 1)
        best = best.topk(min(k, best.shape[1]), dim=1).values
        start += block.shape[1]
    return scores_and_rows(best)


def _sums(codes: torch.Tensor, tables: torch.Tensor) -> Iterator[torch.Tensor]:
    by_subspace = tables.transpose(0, 1).contiguous()
    for start in range(0, len(codes), _BLOCK):
        block = codes[start : start + _BLOCK]
        scores = tables.new_zeros(len(tables), len(block))
        for j, table in enumerate(by_subspace):
            scores += table[:, block[:, j].int()]
        yield scores
