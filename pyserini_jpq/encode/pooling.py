"""From the vectors of tokens to that of a text, by every mode that sentence-transformers has."""

from collections.abc import Callable

import torch

Pool = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def pool(states: torch.Tensor, mask: torch.Tensor, modes: str) -> torch.Tensor:
    """Pool tokens.

    Parameters
    ----------
    states
        [B, L, D] float32.
    mask
        [B, L], 1 for the tokens that count. Padding stands behind a text.
    modes
        A mode of `cards.POOLINGS`, or several joined by `+`.

    Returns
    -------
    torch.Tensor
        [B, D], or D times the number of modes.
    """
    parts = [_MODES[mode](states, mask) for mode in modes.split("+")]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)


def _cls(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return _row(states, mask.to(torch.int32).argmax(1))


def _last(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    positions = torch.arange(1, mask.shape[1] + 1, device=mask.device, dtype=torch.int32)
    return _row(states, (mask.to(torch.int32) * positions).argmax(1))


def _row(states: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    # By gather: an index that counts the texts would be a constant in ONNX.
    return states.gather(1, positions[:, None, None].expand(-1, 1, states.shape[2]))[:, 0]


def _max(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return states.masked_fill(mask[:, :, None] == 0, float("-inf")).max(1).values


def _mean(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    weights = mask[:, :, None].to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1).clamp(min=1)


def _mean_sqrt_len(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    weights = mask[:, :, None].to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1).clamp(min=1).sqrt()


def _weighted_mean(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    positions = torch.arange(1, mask.shape[1] + 1, device=mask.device, dtype=states.dtype)
    weights = mask[:, :, None].to(states.dtype) * positions[None, :, None]
    return (states * weights).sum(1) / weights.sum(1).clamp(min=1)


_MODES: dict[str, Pool] = {
    "cls": _cls,
    "mean": _mean,
    "last": _last,
    "max_tokens": _max,
    "mean_sqrt_len_tokens": _mean_sqrt_len,
    "weightedmean_tokens": _weighted_mean,
}
