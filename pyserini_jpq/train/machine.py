"""What training is computed on: the device, the type of numbers, the processes that take part."""

from dataclasses import dataclass

import torch

from pyserini_jpq.encode.encoder import Encoder
from pyserini_jpq.encode.precision import resolve_device, resolve_dtype
from pyserini_jpq.errors import TrainingError
from pyserini_jpq.train.distributed import Ranks
from pyserini_jpq.train.lora import add_lora
from pyserini_jpq.train.options import TrainOptions


@dataclass(frozen=True)
class Machine:
    """The device that this process computes on, what its encoder computes in, and the processes that train together."""

    device: torch.device
    dtype: torch.dtype
    ranks: Ranks

    @classmethod
    def join(cls, options: TrainOptions) -> "Machine":
        """Limit threads, find the device, and join the other processes if a launcher started several."""
        import faiss

        if options.threads:
            torch.set_num_threads(options.threads)
            faiss.omp_set_num_threads(options.threads)
        device = resolve_device(options.device)
        return cls(device, training_dtype(options.dtype, device), Ranks.join(device))


def training_dtype(name: str, device: torch.device) -> torch.dtype:
    """Turn `auto` and the other names into what the encoder computes in while it is trained.

    As `resolve_dtype`, but bfloat16 on a GPU that has it: gradients need its range more than float16's digits.
    """
    if name == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.bfloat16
    return resolve_dtype(name, device)


def fit_encoder(encoder: Encoder, options: TrainOptions, device: torch.device) -> None:
    """Change how the encoder is computed, as the options say: less memory, or less time."""
    if options.gradient_checkpointing:
        encoder.backbone.gradient_checkpointing_enable()
    if options.lora_rank:
        add_lora(encoder, options.lora_rank)
    if options.compile:
        check_compiler(device)
        encoder.backbone.compile(dynamic=True)


def check_compiler(device: torch.device) -> None:
    """Raise TrainingError where torch cannot compile; else the first step would, after all that comes before it."""
    try:
        torch.compile(lambda values: values.sin() + 1)(torch.ones(8, device=device))
    except Exception as problem:  # whatever the compiler that is there, or is not, ends in
        reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
        raise TrainingError(f"--compile: torch.compile does not work here ({reason}); leave the flag out") from None
