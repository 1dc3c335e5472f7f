"""An encoder in ONNX Runtime: exported once, quantized if asked for, and kept for the next time."""

import hashlib
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pyserini_jpq import cli
from pyserini_jpq.encode.encoder import Encoder
from pyserini_jpq.errors import EncoderError, InstallationError, how_to_install
from pyserini_jpq.paths import cache_folder
from pyserini_jpq.quantizer import Floats

_INPUTS = ("input_ids", "attention_mask")
_OPSET = 17
_TOLERANCE = 1e-3


class OnnxBackend:
    """Encodes by ONNX Runtime.

    Parameters
    ----------
    encoder
        The encoder, on the CPU.
    int8
        Weights of 7 bits, and activations of 8 bits with a range found for each batch.
    threads
        Threads of a call.
    calls
        Threads that may call at once.

    Raises
    ------
    InstallationError
        If a package is missing.
    EncoderError
        If the exported model gives other vectors.
    """

    def __init__(self, encoder: Encoder, int8: bool, threads: int, calls: int = 1) -> None:
        self._encoder, self._int8, self._threads, self._calls = encoder, int8, threads, calls
        self._session: Any = None
        self._process = os.getpid()
        self._open()

    def __call__(self, texts: Sequence[str]) -> Floats:
        """Encode B queries to [B, D] float32."""
        if self._process != os.getpid():
            self._open()  # the threads of the session were not forked
        return self.compute(self._encoder.tokenize(texts, self._encoder.card.query))

    def compute(self, rows: Sequence[Sequence[int]]) -> Floats:
        """Encode the token ids of B texts to [B, D] float32."""
        return self._run(_named(self._encoder, rows))

    def __getstate__(self) -> dict[str, Any]:
        """Leave the session out: it is opened again from the cache, or exported once more."""
        return {"how": (self._encoder, self._int8, self._threads, self._calls)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open a session of its own."""
        self.__init__(*state["how"])  # type: ignore[misc]  # a new object

    def _open(self) -> None:
        path = self._exported()
        self._session = self._session_of(path)
        self._process = os.getpid()

    def _exported(self) -> Path:
        # Of 7 bits: without VNNI, sums of two products of 8 bits overflow 16 bits, and on every machine alike.
        path = cache_folder() / f"{_key(self._encoder)}{'.int7' if self._int8 else ''}.onnx"
        if not path.is_file():
            cli.say(f"exporting the encoder to {path}, once")
            _export(self._encoder, path, self._int8)
        return path

    def _session_of(self, path: Path) -> Any:
        runtime = module_of("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = self._threads
        return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def _run(self, inputs: dict[str, np.ndarray]) -> Floats:
        return np.asarray(self._session.run(None, inputs)[0], dtype=np.float32)


def _named(encoder: Encoder, rows: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in zip(_INPUTS, encoder.pad(rows), strict=True)}


def _key(encoder: Encoder) -> str:
    """Return a key of the exported encoder: a hash of weights, pooling and versions of the exporter."""
    card = encoder.card
    how = [card.architecture, card.pooling, card.normalize, card.skip_tokens, torch.__version__, _OPSET]
    how += [card.include_prompt, card.truncate_dim]
    return hashlib.sha256(json.dumps([encoder.weights_sha256(), *how]).encode()).hexdigest()[:32]


def _export(encoder: Encoder, path: Path, int8: bool) -> None:
    """Write the model atomically."""
    module_of("onnx")  # torch's exporter needs it, and says so in words of its own
    # One of the two is padded: with a mask of ones alone, the mask would be left out of what is exported.
    row = encoder.tokenize(["a"], encoder.card.query)[0]
    ids, mask = encoder.pad([row, [*row, *row]])
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing, about branches that do not depend on the input here
        model = os.path.join(folder, "model.onnx")
        axes = {name: {0: "batch", 1: "length"} for name in _INPUTS}
        torch.onnx.export(
            encoder,
            (ids, mask),
            model,
            input_names=list(_INPUTS),
            output_names=["vectors"],
            dynamic_axes=axes | {"vectors": {0: "batch"}},
            opset_version=_OPSET,
            dynamo=False,  # it takes an eighth of the time, and no onnxscript
        )
        _check(encoder, model)
        if int8:
            model = _quantized(model)
        os.replace(model, path)


def _check(encoder: Encoder, model: str) -> None:
    """Refuse a model that gives other vectors than the encoder: what tracing saw once it takes for constant."""
    texts = ["a", "one two three four five six seven", "b c"]
    inputs = encoder.pad_queries(texts)
    named = {name: tensor.numpy() for name, tensor in zip(_INPUTS, inputs, strict=True)}
    with torch.inference_mode():
        expected = encoder(*inputs).numpy()
    problem = "gives other vectors in ONNX"
    try:
        found = module_of("onnxruntime").InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, named)[0]
        same = np.allclose(found, expected, rtol=_TOLERANCE, atol=_TOLERANCE * np.abs(expected).max())
    except InstallationError:
        raise
    except Exception as error:  # ONNX Runtime has classes of its own, of no common base
        same, problem = False, f"does not run in ONNX ({str(error).splitlines()[0][:200]})"
    if not same:
        raise EncoderError(f"{encoder.card.backbone} {problem}; leave --encoder-backend out")


def _quantized(model: str) -> str:
    quantization = module_of("onnxruntime.quantization")
    logging.getLogger().addFilter(_no_advice)
    try:
        quantization.quantize_dynamic(
            model, f"{model}.int8", weight_type=quantization.QuantType.QInt8, per_channel=True, reduce_range=True
        )
    finally:
        logging.getLogger().removeFilter(_no_advice)
    return f"{model}.int8"


def _no_advice(record: logging.LogRecord) -> bool:
    return "pre-processing before quantization" not in record.getMessage()


def module_of(name: str, extra: str = "onnx") -> Any:
    """Import a package of a backend; raises InstallationError, which names the extra, where it is missing."""
    try:
        return import_module(name)
    except ImportError:
        raise InstallationError(
            f"the encoder backend needs {name.partition('.')[0]}; run {how_to_install(extra)}"
        ) from None
