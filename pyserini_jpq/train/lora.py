"""Low-rank updates (LoRA; Hu et al., ICLR 2022) for encoders too large to train in full, by `peft`."""

from pyserini_jpq.encode.encoder import Encoder
from pyserini_jpq.errors import InstallationError, how_to_install


def add_lora(encoder: Encoder, rank: int) -> None:
    """Freeze the backbone and add low-rank updates to all its linear layers.

    Parameters
    ----------
    encoder
        Encoder whose backbone is wrapped in place.
    rank
        Rank of the updates; they are scaled by 2.

    Raises
    ------
    InstallationError
        If `peft` is not installed.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise InstallationError(
            f"--lora-rank needs peft; run {how_to_install('lora')}; or leave the flag out"
        ) from None
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")
    encoder.backbone = get_peft_model(encoder.backbone, config)


def merge_lora(encoder: Encoder) -> None:
    """Merge low-rank updates, if there are any, into the weights, so that the encoder is an ordinary one again."""
    if hasattr(encoder.backbone, "merge_and_unload"):
        encoder.backbone = encoder.backbone.merge_and_unload()
