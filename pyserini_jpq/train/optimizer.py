"""AdamW with a parameter group for each learning rate, and a learning rate with linear warm-up and decay."""

import torch

from pyserini_jpq.train.document_model import DocumentModel
from pyserini_jpq.train.model import JPQModel
from pyserini_jpq.train.options import Recipe

ADDITIVE_CENTROIDS, ADDITIVE_BIASES = 1 / 200, 1 / 10
"""What rates are multiplied by for additive codes: there every centroid moves all dimensions of its documents, and late
ones are small. On the MS MARCO subset larger rates lost on held-out queries."""


def make_optimizer(model: JPQModel, recipe: Recipe) -> torch.optim.AdamW:
    """Return AdamW over encoder, centroids, biases and documents, a group each; frozen parameters are left out."""
    centroids, biases = (ADDITIVE_CENTROIDS, ADDITIVE_BIASES) if model.additive else (1.0, 1.0)
    groups = [
        (model.encoder.parameters(), recipe.rate, recipe.weight_decay),
        ([model.centroids], recipe.centroid_lr * centroids, 0.0),
        ([model.biases], recipe.bias_lr * biases, 0.0),
    ]
    if isinstance(model, DocumentModel):
        of_queries = set(model.encoder.parameters())  # which may be those of the document encoder, too
        documents = [p for p in model.document_side.parameters() if p not in of_queries]
        groups.append((documents, recipe.document_rate, 0.0))
    return torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.requires_grad], "lr": lr, "weight_decay": decay}
            for parameters, lr, decay in groups
        ],
        eps=1e-8,
        fused=True,
    )


def make_schedule(optimizer: torch.optim.Optimizer, recipe: Recipe, total: int) -> torch.optim.lr_scheduler.LambdaLR:
    """Return learning rates that rise linearly over the warm-up, then fall linearly to 0."""
    warmup = recipe.warmup_steps(total)

    def rate(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return max(0.0, (total - step) / max(1, total - warmup))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
