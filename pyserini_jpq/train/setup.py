"""Make a trainer from inputs and options."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch

from pyserini_jpq.encode.encoder import Encoder
from pyserini_jpq.index.encoders import check_encoder, query_encoder_source
from pyserini_jpq.train.averaging import hold_out
from pyserini_jpq.train.biases import fitted_weight, start_biases
from pyserini_jpq.train.data import TrainingQuery
from pyserini_jpq.train.defaults import decided
from pyserini_jpq.train.dev import DevSet
from pyserini_jpq.train.distributed import Ranks
from pyserini_jpq.train.inputs import Inputs
from pyserini_jpq.train.machine import Machine, fit_encoder
from pyserini_jpq.train.model import JPQModel
from pyserini_jpq.train.options import TrainOptions
from pyserini_jpq.train.search import IndexSearch, index_search
from pyserini_jpq.train.source import SourceIndex
from pyserini_jpq.train.spread import SPREAD_FROM, Part
from pyserini_jpq.train.supervision import supervise
from pyserini_jpq.train.trainer import Trainer


def make_trainer(inputs: Inputs, options: TrainOptions, folder: Path) -> Trainer:
    """Load encoder and index, and return a trainer of copies of both.

    Parameters
    ----------
    inputs
        Index and data.
    options
        Options; those that are open are chosen here by the data.
    folder
        Folder for checkpoints and the log.
    """
    machine, options, inputs, held_out = begin(inputs, options)
    model, search, options = start_model(inputs, options, machine)
    supervision = supervise(inputs, options, model, search, machine.ranks)
    dev = dev_set(inputs, held_out, search, options.dev_metric, machine.ranks)
    return Trainer(model, supervision, options, machine, folder, dev)


def begin(inputs: Inputs, options: TrainOptions) -> tuple[Machine, TrainOptions, Inputs, Sequence[TrainingQuery]]:
    """Join the machine and seed torch; return it, complete options, the inputs without held-out queries, and these."""
    machine = Machine.join(options)
    torch.manual_seed(options.seed + machine.ranks.rank)
    width = inputs.source.manifest.dimension
    options = decided(options, inputs.queries, inputs.embeddings is not None, inputs.dev is not None, width)
    return machine, options, *set_aside(inputs, options)


def set_aside(inputs: Inputs, options: TrainOptions) -> tuple[Inputs, Sequence[TrainingQuery]]:
    """Return the inputs without held-out queries, and these: none unless they choose the share that is kept."""
    if options.trained_share is not None or inputs.dev is not None:
        return inputs, ()
    queries, held_out = hold_out(inputs.queries, options.seed)
    return dataclasses.replace(inputs, queries=queries), held_out


def start_model(inputs: Inputs, options: TrainOptions, machine: Machine) -> tuple[JPQModel, IndexSearch, TrainOptions]:
    """Return the model before the first step, the search of its index, and the options with `norm_bias` filled in.

    New biases start at the negative squared norms of the centroids times a weight: that of the options, else a fitted
    one if there are embeddings, else 0.
    """
    model = load_model(inputs.source, options, machine)
    search = index_search(model)
    if not options.learns_biases or model.biases.any():
        return model, search, options
    weight = options.norm_bias or 0.0
    if options.norm_bias is None and inputs.embeddings is not None:
        weight = fitted_weight(model, search, inputs.queries, inputs.embeddings, options.seed)
    start_biases(model, weight)
    return model, search, dataclasses.replace(options, norm_bias=weight)


def load_model(source: SourceIndex, options: TrainOptions, machine: Machine) -> JPQModel:
    """Return the model of encoder and index on its device, with gradients only for what is trained."""
    encoder = load_encoder(source)
    fit_encoder(encoder, options, machine.device)
    if not options.train_encoder:
        encoder.requires_grad_(False)
    part = None if not spreads(options, machine.ranks, source) else Part(machine.ranks, source.manifest.documents)
    model = JPQModel(encoder, source.quantizer, source.codes if part is None else source.codes_of(part.rows), part)
    model.centroids.requires_grad_(options.train_centroids)
    model.biases.requires_grad_(options.learns_biases)
    return model.to(machine.device)


def load_encoder(source: SourceIndex) -> Encoder:
    """Return the query encoder of an index."""
    if source.query_encoder is not None:
        return source.query_encoder.load()
    named = query_encoder_source(source.folder)
    encoder = named.load()
    check_encoder(source.folder, encoder, named.name)
    return encoder


def spreads(options: TrainOptions, ranks: Ranks, source: SourceIndex) -> bool:
    """Return whether each process holds the codes of its part of the documents only."""
    if ranks.world == 1 or options.spread_codes is not None:
        return ranks.world > 1 and bool(options.spread_codes)
    return source.manifest.documents * source.manifest.m >= SPREAD_FROM


def dev_set(
    inputs: Inputs, held_out: Sequence[TrainingQuery], search: IndexSearch, metric: str, ranks: Ranks
) -> DevSet | None:
    """Return the queries to evaluate on: dev topics, else held-out training queries, else None."""
    docids = inputs.source.docids
    if inputs.dev:
        return DevSet(*inputs.dev, docids, metric, search, ranks=ranks)
    if not held_out:
        return None
    topics = {query.qid: query.text for query in held_out}
    qrels = {
        query.qid: {docids[row]: int(grade) for row, grade in zip(query.positives, query.grades, strict=True)}
        for query in held_out
    }
    return DevSet(topics, qrels, docids, metric, search, held_out=True, ranks=ranks)
