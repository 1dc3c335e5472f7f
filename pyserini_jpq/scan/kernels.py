"""The exhaustive scan as Triton kernels, for GPUs; `scan.device` decides where they are used.

The first pass writes the best score of each group of 128 documents, for each query. The k best documents lie in the k
groups with the best scores: of any other group, each of these k has a document that comes first. The second pass scores
those groups again. So memory holds k · 128 scores of a query, not N, and what is found is exact.

Both add the entries of a document up from the first subspace to the last in float32, as the reference does.
"""

import torch
import triton
import triton.language as tl

from pyserini_jpq.scan.order import keys, scores_and_rows

GROUP = 128
"""Documents of a group."""

QUERIES = 32
"""Most queries that share a pass over the codes. Their entries for a code are adjacent, 128 bytes, so that a warp reads
them at once: looked up query by query, 32 random addresses would fall on the same banks."""

DOCUMENTS = 1024
"""Documents of a program, whose sums stay in registers. The table of a subspace is 32 KB for 32 queries and is read by
all of them while it is in the first-level cache: fewer documents would fetch it more often."""

WARPS = 16
"""Warps of a program."""


@triton.jit
def _best_of_groups(
    codes,
    tables,
    best,
    stride,
    documents,
    subspaces,
    entries,
    groups,
    QUERIES: tl.constexpr,
    DOCUMENTS: tl.constexpr,
    GROUP: tl.constexpr,
):
    """Write the best score of each group: codes [M, stride] and tables [M, K, QUERIES] to best [QUERIES, groups]."""
    rows = tl.program_id(0) * DOCUMENTS + tl.arange(0, DOCUMENTS)
    query = tl.arange(0, QUERIES)
    sums = tl.zeros((DOCUMENTS, QUERIES), dtype=tl.float32)
    for _ in range(subspaces):
        code = tl.load(codes + rows).to(tl.int32)
        sums += tl.load(tables + code[:, None] * QUERIES + query[None, :])
        codes += stride
        tables += entries * QUERIES
    sums = tl.where((rows < documents)[:, None], sums, float("-inf"))
    highest = tl.max(tl.reshape(sums, (DOCUMENTS // GROUP, GROUP, QUERIES)), axis=1)
    group = tl.program_id(0) * (DOCUMENTS // GROUP) + tl.arange(0, DOCUMENTS // GROUP)
    tl.store(best + query[None, :] * groups + group[:, None], highest)


@triton.jit
def _scores_of_groups(
    codes,
    tables,
    chosen,
    scores,
    stride,
    documents,
    subspaces,
    entries,
    GROUP: tl.constexpr,
):
    """Write the scores of chosen groups: codes [M, stride], tables [B, M, K] and chosen [B, C] to [B, C, GROUP]."""
    query = tl.program_id(1).to(tl.int64)
    place = query * tl.num_programs(0) + tl.program_id(0)
    document = tl.arange(0, GROUP)
    rows = tl.load(chosen + place) * GROUP + document
    tables += query * subspaces * entries
    sums = tl.zeros((GROUP,), dtype=tl.float32)
    for _ in range(subspaces):
        sums += tl.load(tables + tl.load(codes + rows).to(tl.int32))
        codes += stride
        tables += entries
    tl.store(scores + place * GROUP + document, tl.where(rows < documents, sums, float("-inf")))


def best_by_kernels(codes: torch.Tensor, tables: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the k documents with the largest sums of table entries, the earlier row first where sums are equal.

    Parameters
    ----------
    codes
        [N, M] uint8, as `scan.device.by_subspace` lays them out.
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
    if not len(codes):
        return tables.new_empty(len(tables), 0), tables.new_empty(len(tables), 0, dtype=torch.int64)
    with torch.cuda.device_of(codes):
        scores, rows = zip(*(_best(codes, part.contiguous(), k) for part in tables.split(QUERIES)), strict=True)
    return torch.cat(scores), torch.cat(rows)


def _best(codes: torch.Tensor, tables: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    best = best_of_groups(codes, tables)
    chosen = scores_and_rows(keys(best, _numbers(best)).topk(min(k, best.shape[1])).values)[1]
    documents, m = codes.shape
    scores = tables.new_empty(*chosen.shape, GROUP)
    sizes = (codes.stride(1), documents, m, tables.shape[2])
    _scores_of_groups[(chosen.shape[1], len(chosen))](codes, tables, chosen, scores, *sizes, GROUP, num_warps=4)
    rows = (chosen * GROUP)[:, :, None] + _numbers(scores)
    return scores_and_rows(keys(scores, rows).flatten(1).topk(min(k, documents)).values)


def best_of_groups(
    codes: torch.Tensor, tables: torch.Tensor, size: int = DOCUMENTS, warps: int = WARPS
) -> torch.Tensor:
    """Return the best score of each group of 128 documents.

    Parameters
    ----------
    codes, tables
        As for `best_by_kernels`, of at most 32 queries.
    size, warps
        Documents and warps of a program.

    Returns
    -------
    torch.Tensor
        [B, ceil(N / 128)] float32.
    """
    documents, m = codes.shape
    queries, _, entries = tables.shape
    padded, programs = triton.next_power_of_2(queries), triton.cdiv(documents, size)
    of_code = tables.new_zeros(m, entries, padded)
    of_code[:, :, :queries] = tables.permute(1, 2, 0)
    best = tables.new_empty(padded, programs * (size // GROUP))
    sizes = (codes.stride(1), documents, m, entries, best.shape[1])
    _best_of_groups[(programs,)](codes, of_code, best, *sizes, padded, size, GROUP, num_warps=warps)
    return best[:queries, : triton.cdiv(documents, GROUP)]


def _numbers(values: torch.Tensor) -> torch.Tensor:
    """Return 0, 1, … along the last axis."""
    return torch.arange(values.shape[-1], device=values.device)
