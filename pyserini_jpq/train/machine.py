"""What training runs on: device, number type, processes."""

from dataclasses import dataclass

import torch

from pyserini_jpq.encode.encoder import Encoder
from pyserini_jpq.encode.precision import resolve_device, resolve_dtype
from pyserini_jpq.errors import TrainingError, first_line
from pyserini_jpq.train.distributed import Ranks
from pyserini_jpq.train.lora import add_lora
from pyserini_jpq.train.options import TrainOptions


@dataclass(frozen=True)
class Machine:
    """The device of this process, the number type of its encoder, and the processes that train together."""

    device: torch.device
    dtype: torch.dtype
    ranks: Ranks

    @classmethod
    def join(cls, options: TrainOptions) -> "Machine":
        """Limit threads, find the device, and join the other processes of a launcher."""
        import faiss

        if options.threads:
            torch.set_num_threads(options.threads)
            faiss.omp_set_num_threads(options.threads)
        device = resolve_device(options.device)
        return cls(device, training_dtype(options.dtype, device), Ranks.join(device))


def training_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the number type of the encoder in training, by name or `auto`.

    As `resolve_dtype`, but `auto` is bfloat16 on a GPU that has it: gradients need its range more than precision.
    """
    if name == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.bfloat16
    return resolve_dtype(name, device)


def fit_encoder(encoder: Encoder, options: TrainOptions, device: torch.device) -> None:
    """Apply the options that save memory or time: gradient checkpointing, LoRA, compilation."""
    if options.gradient_checkpointing:
        encoder.backbone.gradient_checkpointing_enable()
    if options.lora_rank:
        add_lora(encoder, options.lora_rank)
    if options.compile:
        check_compiler(device)
        encoder.backbone.compile(dynamic=True)


def check_compiler(device: torch.device) -> None:
    """Raise TrainingError where torch cannot compile, before the work that precedes the first step."""
    try:
        torch.compile(lambda values: values.sin() + 1)(torch.ones(8, device=device))
    except Exception as problem:  # each compiler has its own
        raise TrainingError(
            f"--compile: torch.compile does not work here ({first_line(problem)}); leave the flag out"
        ) from None
