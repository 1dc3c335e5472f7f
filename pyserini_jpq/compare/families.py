"""Families of indexes: those that were trained alike and differ in their bytes, joined by a line in figures."""

from pyserini_jpq.index.manifest import Manifest

NOT_TRAINED = "OPQ"
_LOSS = "lambda-rr"


def family(manifest: Manifest) -> str:
    """Return how an index was trained, in the words of a legend: what differs from the defaults of training here."""
    if manifest.training is None:
        return NOT_TRAINED
    recipe = manifest.training.get("recipe", {})
    loss, negatives = recipe.get("loss", _LOSS), recipe.get("negatives", "live")
    moved = recipe.get("train_centroids", True)
    said = {
        f"{loss} loss": loss != _LOSS,
        f"{negatives} negatives": negatives != "live",
        "loss of original scores": recipe.get("loss_scores", "index") == "original",
        "centroids not trained": not moved,
        # A recipe that says nothing of biases is older than they are; a published index has no recipe.
        "no biases": bool(recipe) and moved and not recipe.get("train_biases", False),
        "encoder not trained": not recipe.get("train_encoder", True),
    }
    differs = ", ".join(text for text, holds in said.items() if holds)
    return f"JPQ, {differs}" if differs else "JPQ"
