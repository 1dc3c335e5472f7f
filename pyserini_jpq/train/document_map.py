"""Train a linear map of stored vectors, then code the documents again (`--train-documents linear`).

The map is trained with the queries' vectors as they are, under a
linear map of their own that takes the place of the index's rotation: no text is encoded again. The query encoder is
trained afterwards, with the new codes.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from pyserini_jpq.encode.encoder import Encoder
from pyserini_jpq.errors import TrainingError
from pyserini_jpq.index.vectors import DocumentVectors
from pyserini_jpq.quantizer import ProductQuantizer
from pyserini_jpq.train.biases import fitted_weight, start_biases
from pyserini_jpq.train.data import TrainingQuery
from pyserini_jpq.train.document_model import Committed, DocumentModel, MappedVectors
from pyserini_jpq.train.document_stage import BLOCK, check_codes, coded_anew, trained, trained_once
from pyserini_jpq.train.inputs import Inputs
from pyserini_jpq.train.negatives import Negatives
from pyserini_jpq.train.options import TrainOptions
from pyserini_jpq.train.search import index_search
from pyserini_jpq.train.setup import begin, load_encoder
from pyserini_jpq.train.supervision import supervise
from pyserini_jpq.train.teacher import encode_all

_STATE = "trained.npz"


class MappedQueries(nn.Module):
    """The vectors of all training queries, encoded once, under a linear map that is trained; in place of an encoder."""

    def __init__(self, encoder: Encoder, queries: Sequence[TrainingQuery]) -> None:
        super().__init__()
        texts = list(dict.fromkeys(query.text for query in queries))
        self.card, self.dimension = encoder.card, encoder.dimension
        self._places = {text: place for place, text in enumerate(texts)}
        self._vectors = encode_all(encoder, texts)
        self.map = nn.Parameter(torch.eye(encoder.dimension))

    @property
    def device(self) -> torch.device:
        """The device of the map."""
        return self.map.device

    def encode_queries(self, texts: Sequence[str]) -> torch.Tensor:
        """Return the mapped vectors of training queries, [B, D] float32."""
        vectors = self._vectors[[self._places[text] for text in texts]].to(self.map.device)
        return vectors @ self.map.T


class Recoded(Negatives):
    """The same negatives, of documents whose codes are assigned anew every so many steps."""

    def __init__(self, negatives: Negatives, model: DocumentModel, every: int) -> None:
        self.ranked = negatives.ranked
        self._negatives, self._model, self._every = negatives, model, every

    def choose(self, step: int, batch: Sequence[TrainingQuery], rotated_queries: torch.Tensor) -> torch.Tensor:
        """Assign codes if it is time, and choose documents."""
        if step % self._every == 0:
            self._model.recode()
        return self._negatives.choose(step, batch, rotated_queries)

    def state(self) -> Any:
        """Return the state of the negatives, and the codes."""
        return {"negatives": self._negatives.state(), "codes": self._model.codes.cpu().clone()}

    def load_state(self, state: Any) -> None:
        """Restore what `state` returned."""
        self._negatives.load_state(state["negatives"])
        self._model.codes.copy_(state["codes"])


def train_document_map(inputs: Inputs, options: TrainOptions, folder: Path) -> Inputs:
    """Return the inputs with an index whose documents were mapped and coded again; resumes an interrupted call.

    Parameters
    ----------
    inputs
        Index and data.
    options
        Complete options, of which `train_documents` is one.
    folder
        Folder for checkpoints, and for the result until the outputs are written.

    Raises
    ------
    TrainingError
        If codes are additive, or there are no vectors of the documents.
    KeyboardInterrupt
        After a signal to stop; a checkpoint has been written.
    """
    vectors = _vectors(inputs)
    names = ("rotation", "centroids", "biases", "map")
    kept = trained_once(folder / _STATE, names, lambda: _trained(inputs, vectors, options, folder))
    rotation, centroids, biases, document_map = kept
    quantizer, blocks = ProductQuantizer(rotation, centroids, biases), vectors.blocks(BLOCK)
    source = coded_anew(inputs.source, quantizer, document_map, blocks, document_map=document_map)
    return dataclasses.replace(inputs, source=source)


def _vectors(inputs: Inputs) -> DocumentVectors:
    """Return the vectors of the documents; raise TrainingError if they cannot be mapped."""
    check_codes(inputs.source)
    if inputs.source.document_map is not None:
        raise TrainingError(
            f"the documents of {inputs.source.folder.path} are mapped already; leave --train-documents out"
        )
    if inputs.embeddings is None:
        raise TrainingError(
            "--train-documents linear needs the documents' vectors; give their folder with --embeddings"
        )
    return inputs.embeddings


def _stage(options: TrainOptions) -> TrainOptions:
    """Return the options of this stage: it learns to rank as the vectors do, from no labels."""
    return dataclasses.replace(
        options,
        epochs=options.document_epochs,
        loss="distill",
        distill_temperature=1.0,
        false_negatives=None,
        loss_scores="index",
        negatives="live",
        lr=options.document_rate,
        weight_decay=0.0,
        centroid_lr=3e-4,
        trained_share=options.kept_share,
    )


def _trained(inputs: Inputs, vectors: DocumentVectors, options: TrainOptions, folder: Path) -> dict[str, Any]:
    """Train the map of documents and that of queries, centroids and biases; return them as arrays."""
    machine, options, inputs, _ = begin(inputs, options)
    options = _stage(options)
    encoder = load_encoder(inputs.source).to(machine.device)
    queries = MappedQueries(encoder, inputs.queries)
    source = inputs.source
    documents = MappedVectors(vectors, torch.from_numpy(source.quantizer.rotation))
    model = DocumentModel(cast(Encoder, queries), source.quantizer, source.codes.copy(), documents, options.balance).to(
        machine.device
    )
    search = index_search(model)
    if not model.biases.any():
        start_biases(model, fitted_weight(model, search, inputs.queries, vectors, options.seed))
    supervision = supervise(inputs, options, model, search, machine.ranks)
    objective = Committed(**vars(supervision.objective), model=model, weight=options.commitment)
    negatives = Recoded(supervision.negatives, model, options.recode_every)
    supervision = dataclasses.replace(supervision, negatives=negatives, objective=objective)
    trained(model, supervision, options, machine, folder)
    rotation = (model.rotation @ queries.map).detach().cpu().numpy()
    quantizer = model.quantizer()
    return {
        "rotation": rotation,
        "centroids": quantizer.centroids,
        "biases": model.biases.detach().cpu().numpy(),
        "map": documents.map.detach().cpu().numpy(),
    }
