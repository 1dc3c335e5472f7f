"""Low-rank updates (Hu et al., ICLR 2022) for encoders that are too large to train whole; `peft` does the work."""

from pyserini_jpq.encode.encoder import Encoder
from pyserini_jpq.errors import InstallationError, how_to_install


def add_lora(encoder: Encoder, rank: int) -> None:
    """Freeze the backbone and train low-rank updates of all its linear layers.

    Parameters
    ----------
    encoder
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
            f"--lora-rank needs peft; run {how_to_install('lora')}; or leave the flag out"
        ) from None
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")
    encoder.backbone = get_peft_model(encoder.backbone, config)


def merge_lora(encoder: Encoder) -> None:
    """Add low-rank updates to the weights, so that the encoder is an ordinary one again; nothing without them."""
    if hasattr(encoder.backbone, "merge_and_unload"):
        encoder.backbone = encoder.backbone.merge_and_unload()
