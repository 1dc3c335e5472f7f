"""The options of encoding, and those that describe an encoder without a card."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from pyserini_jpq.cards import POOLINGS
from pyserini_jpq.cli import positive_int
from pyserini_jpq.errors import JPQError
from pyserini_jpq.options import Options, on_or_off, option, switch


@dataclass(frozen=True)
class EncodeOptions(Options):
    """Options of encoding; every field is a flag of `python -m pyserini_jpq.encode`."""

    batch_size: int = option(32, "most documents encoded at once; on a CPU fewer where they are long", positive_int)
    device: str = option("auto", "cpu, cuda, cuda:1, or auto: a GPU if there is one")
    dtype: str = option(
        "auto",
        "what the encoder computes in; auto is the fastest type of the device that leaves rankings as they are",
        choices=("auto", "float32", "bfloat16", "float16"),
    )
    encoder_backend: str = option(
        "torch",
        "what computes it: torch, or on a CPU float32 or 8 bits by ONNX Runtime, float32 by OpenVINO",
        choices=("torch", "onnx", "onnx-int8", "openvino"),
    )
    shard_id: int = option(0, "which part to encode, from 0; by torchrun its rank", int)
    shard_num: int = option(1, "parts the collection is encoded in; by torchrun all ranks", positive_int)
    skip_empty: bool = option(False, "leave out documents without text", switch)

    def __post_init__(self) -> None:
        """Check each value, that the shard exists, and that the backend computes in the number type."""
        super().__post_init__()
        if self.encoder_backend != "torch" and self.dtype not in ("auto", "float32"):
            raise JPQError(
                f"--dtype {self.dtype} is for --encoder-backend torch; {self.encoder_backend} has its own, leave it out"
            )
        if not 0 <= self.shard_id < self.shard_num:
            raise JPQError(f"--shard-id {self.shard_id} is not between 0 and --shard-num {self.shard_num} less one")


@dataclass(frozen=True)
class EncoderChanges(Options):
    """The description of an encoder without a card, or changes to its card; all are unset by default."""

    pooling: str | None = option(None, "first token, mean of tokens, last token …", choices=POOLINGS)
    l2_norm: bool | None = option(None, "embeddings of unit length", on_or_off)
    query_prefix: str | None = option(None, "text put in front of every query")
    doc_prefix: str | None = option(None, "text put in front of every document")
    query_max_length: int | None = option(None, "most tokens of a query", positive_int)
    doc_max_length: int | None = option(None, "most tokens of a document", positive_int)
    doc_template: str | None = option(None, "how title and text are joined, such as '{title} {text}'")
    truncate_dim: int | None = option(
        None, "leading dimensions that are kept, of encoders trained for it (Matryoshka)", positive_int
    )
    tokenizer: str | None = option(None, "Hugging Face name or folder, where it is not the backbone's")
    tokenizer_class: str | None = option(None, "a class of transformers, such as BertTokenizer")

    def as_changes(self) -> dict[str, Any]:
        """Return the changed fields of the card, for `EncoderSource.with_changes`."""
        changes: dict[str, Any] = {}
        for name, value in dataclasses.asdict(self).items():
            if value is None:
                continue
            side, _, rest = name.partition("_")
            if side in ("query", "doc"):
                changes.setdefault("query" if side == "query" else "document", {})[rest] = value
            else:
                changes["normalize" if name == "l2_norm" else name] = value
        return changes
