"""Low-rank updates (Hu et al., ICLR 2022) for encoders that are too large to train whole; `peft` does the work."""

from pyserini_jpq.encode.tower import Tower
from pyserini_jpq.errors import InstallationError


def add_lora(tower: Tower, rank: int) -> None:
    """Freeze the backbone and train low-rank updates of all its linear layers.

    Parameters
    ----------
    tower
        Its backbone is wrapped in place.
    rank
        Of the updates; they are scaled by 2.

    Raises
    ------
    InstallationError
        If `peft` is not installed.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise InstallationError(
            "--lora-rank needs peft; run `pip install 'pyserini_jpq[lora]'`, or leave the flag out"
        ) from None
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")
    tower.backbone = get_peft_model(tower.backbone, config)


def merge_lora(tower: Tower) -> None:
    """Add low-rank updates to the weights, so that the encoder is an ordinary one again; nothing without them."""
    if hasattr(tower.backbone, "merge_and_unload"):
        tower.backbone = tower.backbone.merge_and_unload()
