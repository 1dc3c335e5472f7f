"""The optimizer and its learning rates: AdamW, three groups, a linear rise and a linear fall."""

import torch

from pyserini_jpq.train.model import JPQModel
from pyserini_jpq.train.recipe import Recipe


def make_optimizer(model: JPQModel, recipe: Recipe) -> torch.optim.AdamW:
    """Return AdamW over three groups: the encoder's weights, the centroids, the biases; any may be empty.

    Gradients of what is not trained are turned off.
    """
    model.centroids.requires_grad_(recipe.train_centroids)
    model.biases.requires_grad_(recipe.learns_biases)
    if not recipe.train_encoder:
        model.encoder.requires_grad_(False)
    encoder = [p for p in model.encoder.parameters() if p.requires_grad]
    centroids = [p for p in (model.centroids,) if p.requires_grad]
    biases = [p for p in (model.biases,) if p.requires_grad]
    return torch.optim.AdamW(
        [
            {"params": encoder, "lr": recipe.lr, "weight_decay": recipe.weight_decay},
            {"params": centroids, "lr": recipe.centroid_lr, "weight_decay": 0.0},
            {"params": biases, "lr": recipe.bias_lr, "weight_decay": 0.0},
        ],
        eps=1e-8,
        fused=True,
    )


def make_schedule(optimizer: torch.optim.Optimizer, recipe: Recipe, total: int) -> torch.optim.lr_scheduler.LambdaLR:
    """Return learning rates that rise over the warm-up, then fall to nothing, both linearly."""
    warmup = recipe.warmup_steps(total)

    def rate(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return max(0.0, (total - step) / max(1, total - warmup))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
