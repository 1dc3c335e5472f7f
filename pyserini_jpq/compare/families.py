"""Families of indexes: trained alike, with different bytes per document, and joined by a line in figures."""

from pyserini_jpq.index.manifest import Manifest

NOT_TRAINED = "OPQ"
_LOSS = "lambda-rr"


def family(manifest: Manifest) -> str:
    """Return how an index was trained, as a legend says it: the options that differ from the defaults."""
    if manifest.training is None:
        return NOT_TRAINED
    recipe = manifest.training.get("recipe", {})
    loss, negatives = recipe.get("loss", _LOSS), recipe.get("negatives", "live")
    moved = recipe.get("train_centroids", True)
    differences = {
        f"{loss} loss": loss != _LOSS,
        f"{negatives} negatives": negatives != "live",
        "loss of original scores": recipe.get("loss_scores", "index") == "original",
        "centroids not trained": not moved,
        # A recipe without this key is older than biases; a published index has no recipe.
        "no biases": bool(recipe) and moved and not recipe.get("train_biases", False),
        "encoder not trained": not recipe.get("train_encoder", True),
    }
    differs = ", ".join(text for text, holds in differences.items() if holds)
    return f"JPQ, {differs}" if differs else "JPQ"
