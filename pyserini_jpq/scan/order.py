"""The order of hits in torch: by score, the earlier row first where scores are equal, which `topk` leaves open."""

import torch

_ROWS = (1 << 32) - 1


def keys(scores: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Return numbers whose order is that of the hits: the larger, the better; no two are equal.

    Parameters
    ----------
    scores
        Float32, of any shape.
    rows
        Int64, below 2³², of a shape that broadcasts to it.

    Returns
    -------
    torch.Tensor
        Int64: the score in the high half, the row in the low one.
    """
    return (_flipped((scores + 0.0).view(torch.int32)).long() << 32) + (_ROWS - rows)  # + 0.0: -0.0 equals 0.0


def scores_and_rows(keys: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return scores, float32, and rows, int64, of `keys`."""
    return _flipped((keys >> 32).int()).view(torch.float32), _ROWS - (keys & _ROWS)


def _flipped(bits: torch.Tensor) -> torch.Tensor:
    """Turn the bits of a float into an integer of the same order, and back: below zero they count the other way."""
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)
