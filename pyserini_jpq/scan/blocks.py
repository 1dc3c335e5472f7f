"""The exhaustive scan in torch, for GPUs: block by block, so that memory holds the scores of one block only."""

import torch

_BLOCK = 1 << 18


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
        [B, min(k, N)] float32, falling; equal ones in any order.
    rows : torch.Tensor
        [B, min(k, N)] int64.
    """
    by_subspace = tables.transpose(0, 1).contiguous()
    best_scores = tables.new_empty(len(tables), 0)
    best = torch.empty(len(tables), 0, dtype=torch.int64, device=codes.device)
    for start in range(0, len(codes), _BLOCK):
        block = codes[start : start + _BLOCK]
        scores = tables.new_zeros(len(tables), len(block))
        for j, table in enumerate(by_subspace):
            scores += table[:, block[:, j].int()]
        rows = torch.arange(start, start + len(block), device=codes.device).expand_as(scores)
        scores, rows = torch.cat([best_scores, scores], 1), torch.cat([best, rows], 1)
        best_scores, order = scores.topk(min(k, scores.shape[1]), dim=1)
        best = rows.gather(1, order)
    return best_scores, best
