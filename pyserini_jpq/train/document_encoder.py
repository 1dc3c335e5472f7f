"""Train document encoder, query encoder and codebooks together, then encode and code the documents again.

The first stage of RepCONC (Zhan et al., WSDM 2022): straight-through codes, hard negatives from the index. Where both
encoders are one before training, one is trained for both, as there.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pyserini_jpq.cards import ENCODER_FOLDER_CARD
from pyserini_jpq.encode.embeddings import Embeddings, is_complete
from pyserini_jpq.encode.encoder import Encoder
from pyserini_jpq.encode.options import EncodeOptions
from pyserini_jpq.encode.run import encode
from pyserini_jpq.encode.source import EncoderSource
from pyserini_jpq.errors import TrainingError
from pyserini_jpq.files import new_folder
from pyserini_jpq.index.encoders import document_encoder_source
from pyserini_jpq.index.texts import Texts
from pyserini_jpq.quantizer import ProductQuantizer
from pyserini_jpq.train.biases import fitted_weight, start_biases
from pyserini_jpq.train.data import Batches, TrainingQuery
from pyserini_jpq.train.document_model import Committed, DocumentModel
from pyserini_jpq.train.document_stage import BLOCK, check_codes, coded_anew, trained, trained_once
from pyserini_jpq.train.document_texts import EncodedTexts, rendered, texts_for
from pyserini_jpq.train.inputs import Inputs
from pyserini_jpq.train.lora import merge_lora
from pyserini_jpq.train.machine import fit_encoder
from pyserini_jpq.train.negatives import Negatives
from pyserini_jpq.train.options import TrainOptions
from pyserini_jpq.train.search import index_search
from pyserini_jpq.train.setup import begin, load_encoder
from pyserini_jpq.train.supervision import supervise

_RANK = 16


def train_document_encoder(inputs: Inputs, corpus: str | Path | None, options: TrainOptions, folder: Path) -> Inputs:
    """Return the inputs with other encoders, and documents encoded and coded again; resumes an interrupted call.

    Parameters
    ----------
    inputs
        Index and data.
    corpus
        The collection, by path or name; None where the index keeps texts.
    options
        Options, of which `train_documents` is `full` or `lora`.
    folder
        Folder for checkpoints, encoders and embeddings, until the outputs are written.
    """
    _check(inputs)
    texts = texts_for(inputs.source, corpus, folder)
    names = ("centroids", "biases", "shared")
    kept = trained_once(folder / "trained.npz", names, lambda: _trained(inputs, texts, options, folder))
    centroids, biases, shared = kept
    document, query = _source(folder / "encoder"), _source(folder / ("encoder" if shared else "queries"))
    embeddings = _encoded(inputs, texts, document, folder / "embeddings", options)
    rotation = inputs.source.quantizer.rotation
    quantizer, blocks = ProductQuantizer(rotation, centroids, biases), embeddings.blocks(BLOCK)
    source = coded_anew(inputs.source, quantizer, rotation, blocks, query_encoder=query, encoded=embeddings)
    return dataclasses.replace(inputs, source=source, embeddings=embeddings)


def _check(inputs: Inputs) -> None:
    check_codes(inputs.source)
    if inputs.source.document_map is not None:
        raise TrainingError(
            f"the documents of {inputs.source.folder.path} are mapped; "
            "train the encoder from an index where they are not"
        )


def _source(folder: Path) -> EncoderSource:
    from pyserini_jpq.cards import read_encoder_card

    return EncoderSource(folder.name, read_encoder_card(folder / ENCODER_FOLDER_CARD), folder)


def _encoded(inputs: Inputs, texts: Texts, encoder: EncoderSource, folder: Path, options: TrainOptions) -> Embeddings:
    """Encode all documents, in the order of the index."""
    if not is_complete(folder):
        documents = (texts[docid] for docid in inputs.source.docids)
        encode(documents, encoder, folder, options=EncodeOptions(device=options.device))
    return Embeddings(folder)


def _trained(inputs: Inputs, texts: Texts, options: TrainOptions, folder: Path) -> dict[str, Any]:
    """Train encoders and centroids, and write the encoders."""
    machine, options, inputs, _ = begin(inputs, options)
    source, manifest = inputs.source, inputs.source.manifest
    query = load_encoder(source)
    shared = manifest.query_encoder["sha256"] == manifest.document_encoder["sha256"]
    document = query if shared else document_encoder_source(source.folder).load()
    options = _stage(options)
    for encoder in {id(query): query, id(document): document}.values():
        fit_encoder(encoder, options, machine.device)
    template = document.card.document.template
    rotation = torch.from_numpy(source.quantizer.rotation)
    documents = EncodedTexts(document, rendered(texts, source.docids, template), rotation, machine.dtype)
    model = DocumentModel(query, source.quantizer, source.codes, documents, options.balance).to(machine.device)
    search = index_search(model)
    if not model.biases.any() and inputs.embeddings is not None:
        start_biases(model, fitted_weight(model, search, inputs.queries, inputs.embeddings, options.seed))
    supervision = supervise(inputs, options, model, search, machine.ranks)
    labels = {query.qid: query.positives for query in inputs.queries}
    supervision = dataclasses.replace(
        supervision,
        batches=OnePositive(inputs.queries, options.batch_size, options.seed),
        negatives=SampledNegatives(supervision.negatives, labels, options.document_negatives),
        objective=Committed(**vars(supervision.objective), model=model, weight=options.commitment),
    )
    trained(model, supervision, options, machine, folder)
    if machine.ranks.is_first:
        for name, encoder in (("encoder", document), *(() if shared else (("queries", query),))):
            _save(encoder, folder / name)
    quantizer = model.quantizer()
    biases = model.biases.detach().cpu().numpy()
    return {"centroids": quantizer.centroids, "biases": biases, "shared": shared}


def _stage(options: TrainOptions) -> TrainOptions:
    """Return the options of this stage."""
    return dataclasses.replace(
        options,
        epochs=options.document_epochs,
        loss="listwise" if options.learns_from_labels else options.loss,
        listwise_weight=0.0,
        lora_rank=(options.lora_rank or _RANK) if options.train_documents == "lora" else None,
        trained_share=options.kept_share,
        train_encoder=True,
    )


def _save(encoder: Encoder, folder: Path) -> None:
    merge_lora(encoder)
    card = dataclasses.replace(encoder.card, backbone=".", tokenizer=None, package=None, sha256={})
    card = dataclasses.replace(card, description=f"document encoder; trained from {encoder.card.backbone}")
    with new_folder(folder, True, ENCODER_FOLDER_CARD) as target:
        encoder.save(target, card)


class OnePositive(Batches):
    """Batches of queries with one relevant document each, drawn anew for every step."""

    def __getitem__(self, step: int) -> list[TrainingQuery]:
        """Return the batch of a step, counted from 0."""
        chance = np.random.default_rng((self._seed, step, 1))
        return [_with_one(query, chance) for query in super().__getitem__(step)]


def _with_one(query: TrainingQuery, chance: np.random.Generator) -> TrainingQuery:
    if len(query.positives) < 2:
        return query
    place = int(chance.integers(len(query.positives)))
    chosen = slice(place, place + 1)
    return dataclasses.replace(query, positives=query.positives[chosen], grades=query.grades[chosen])


class SampledNegatives(Negatives):
    """Some of another source's documents for each query, and beside them those of the other queries of the batch.

    Parameters
    ----------
    negatives
        The other source.
    labels
        All relevant rows by query id, which are never negatives of that query.
    count
        Documents drawn for each query.
    """

    def __init__(self, negatives: Negatives, labels: dict[str, torch.Tensor], count: int) -> None:
        self._negatives, self._labels, self._count = negatives, labels, count

    def choose(self, step: int, batch: Sequence[TrainingQuery], rotated_queries: torch.Tensor) -> torch.Tensor:
        """Return the same documents for each query, -1 where one is relevant."""
        found = self._negatives.choose(step, batch, rotated_queries).cpu()
        drawn = torch.rand(found.shape).topk(min(self._count, found.shape[1]), dim=1).indices
        rows = torch.cat([found.gather(1, drawn).flatten(), *(query.positives for query in batch)])
        rows = rows[rows >= 0].unique()
        known = torch.stack([torch.isin(rows, self._labels[query.qid]) for query in batch])
        chosen: torch.Tensor = rows.expand(len(batch), -1).masked_fill(known, -1)
        return chosen.to(rotated_queries.device)

    def state(self) -> Any:
        """Return the state of the other source."""
        return self._negatives.state()

    def load_state(self, state: Any) -> None:
        """Restore what `state` returned."""
        self._negatives.load_state(state)
