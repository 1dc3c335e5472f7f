"""What sentence-transformers puts behind pooling: dense layers, layer norms, and unit length in between."""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pyserini_jpq.encode.beside import Files
from pyserini_jpq.encode.strict import some_of
from pyserini_jpq.errors import EncoderError, first_line

ACTIVATIONS = ("Identity", "Tanh", "ReLU", "GELU", "Sigmoid", "SiLU", "ELU", "LeakyReLU", "Softplus", "Mish")
"""Classes of `torch.nn` that a dense layer may name; none takes an argument."""

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_MOST = 1 << 16


class Dense(nn.Module):
    """A linear layer and an activation.

    Parameters
    ----------
    inputs, outputs
        Dimensions.
    bias
        Whether it adds one.
    activation
        Name of a class of `torch.nn`, one of `ACTIVATIONS`.
    residual
        Whether its input is added, by a linear map where the dimensions differ.
    """

    def __init__(self, inputs: int, outputs: int, bias: bool, activation: str, residual: bool = False) -> None:
        super().__init__()
        self.outputs, self.activation = outputs, activation
        self.linear = nn.Linear(inputs, outputs, bias=bias)
        self._activate: nn.Module = getattr(nn, activation)()
        self._is_residual = residual
        if residual and inputs != outputs:
            self.residual = nn.Linear(inputs, outputs, bias=False)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Map [B, D] to [B, D']."""
        found: torch.Tensor = self._activate(self.linear(vectors))
        if not self._is_residual:
            return found
        return found + (self.residual(vectors) if hasattr(self, "residual") else vectors)

    def settings(self) -> dict[str, Any]:
        """Return its `config.json`, as sentence-transformers writes it."""
        values = {
            "in_features": self.linear.in_features,
            "out_features": self.outputs,
            "bias": self.linear.bias is not None,
            "activation_function": f"{type(self._activate).__module__}.{self.activation}",
        }
        return {**values, "use_residual": True} if self._is_residual else values


class LayerNorm(nn.Module):
    """A layer norm of vectors of that many dimensions."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.norm = nn.LayerNorm(outputs)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Map [B, D] to [B, D]."""
        found: torch.Tensor = self.norm(vectors)
        return found

    def settings(self) -> dict[str, Any]:
        """Return its `config.json`, as sentence-transformers writes it."""
        return {"dimension": self.outputs}


class Normalize(nn.Module):
    """Unit length."""

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Map [B, D] to [B, D]."""
        return nn.functional.normalize(vectors, dim=-1)

    def settings(self) -> dict[str, Any]:
        """Return its `config.json`: it has none."""
        return {}


def load_head(names: str, location: str, inputs: int, local: bool) -> nn.Sequential:
    """Load the layers of a card's `head`.

    Parameters
    ----------
    names
        Folders beside the transformer, in order, with a space between them.
    location
        The folder that holds them, or a name of the Hugging Face hub.
    inputs
        Dimensions that pooling gives.
    local
        Fetch nothing.

    Raises
    ------
    EncoderError
        If a file is missing or damaged, a weight is missing or too many, or the dimensions do not follow each other.
    """
    files, layers = Files(location, local), []
    for name in names.split():
        layer = _layer(name, files)
        wanted = layer.linear.in_features if isinstance(layer, Dense) else getattr(layer, "outputs", inputs)
        if wanted != inputs:
            raise EncoderError(f"{files.named(name)} takes {wanted} dimensions, but is given {inputs}")
        inputs = getattr(layer, "outputs", inputs)
        layers.append(layer)
    return nn.Sequential(*layers)


def save_layer(layer: nn.Module, folder: Path) -> None:
    """Write a layer into a new folder, as sentence-transformers reads it."""
    from safetensors.torch import save_file

    folder.mkdir()
    settings: Mapping[str, Any] = layer.settings()  # type: ignore[operator]  # of one of the three classes above
    (folder / "config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    if weights := {name: value.detach().cpu().contiguous() for name, value in layer.state_dict().items()}:
        save_file(weights, folder / _WEIGHTS[0])


def _layer(name: str, files: Files) -> nn.Module:
    if name.endswith("_Normalize"):
        return Normalize()
    settings = files.json(f"{name}/config.json")
    if settings is None:
        raise EncoderError(f"{files.named(name)} has no config.json; copy the encoder again")
    with torch.device("meta"):  # no memory is taken for sizes that its weights do not have
        layer = _norm(settings, name, files) if name.endswith("_LayerNorm") else _dense(settings, name, files)
    weights = _weights(name, files)
    wrong = sorted(set(weights) ^ set(layer.state_dict()))
    shapes = sorted(n for n, value in layer.state_dict().items() if n in weights and weights[n].shape != value.shape)
    if wrong or shapes:
        raise EncoderError(
            f"the weights of {files.named(name)} do not fit its config.json: {some_of(wrong or shapes)}; copy it again"
        )
    layer.load_state_dict({n: value.float() for n, value in weights.items()}, assign=True)
    return layer


def _norm(settings: Mapping[str, Any], name: str, files: Files) -> nn.Module:
    return LayerNorm(_size(settings, "dimension", name, files))


def _dense(settings: Mapping[str, Any], name: str, files: Files) -> nn.Module:
    activation = str(settings.get("activation_function", "torch.nn.modules.activation.Tanh"))
    module, _, kind = activation.rpartition(".")
    inside = {key: settings.get(key) for key in ("module_input_name", "module_output_name")}
    if not (module + ".").startswith("torch.nn.") or kind not in ACTIVATIONS:
        raise EncoderError(f"{files.named(name)} has the activation {activation!r}, which is not supported")
    if any(value not in (None, "sentence_embedding") for value in inside.values()):
        raise EncoderError(f"{files.named(name)} maps tokens, not texts: the model gives several vectors a text")
    sizes = [_size(settings, key, name, files) for key in ("in_features", "out_features")]
    return Dense(sizes[0], sizes[1], bool(settings.get("bias", True)), kind, bool(settings.get("use_residual")))


def _size(settings: Mapping[str, Any], key: str, name: str, files: Files) -> int:
    size = settings.get(key)
    if type(size) is not int or not 0 < size <= _MOST:
        raise EncoderError(f"{files.named(name)} says {key} is {size!r}; expected a number of dimensions")
    return size


def _weights(name: str, files: Files) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = files.path(f"{name}/{_WEIGHTS[0]}") or files.path(f"{name}/{_WEIGHTS[1]}")
    if path is None:
        raise EncoderError(f"{files.named(name)} has neither {' nor '.join(_WEIGHTS)}; copy the encoder again")
    try:
        found = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as problem:
        raise EncoderError(f"{path} cannot be read: {first_line(problem)}; copy the encoder again") from None
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise EncoderError(f"{path} holds no weights by name; copy the encoder again")
    return dict(found)
