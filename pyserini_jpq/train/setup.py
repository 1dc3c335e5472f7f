"""Putting a trainer together from an index folder, queries and a recipe."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from pyserini_jpq.encode.precision import resolve_device
from pyserini_jpq.encode.tower import Tower
from pyserini_jpq.index.encoders import check_encoder, query_encoder_source
from pyserini_jpq.index.faiss import from_faiss, read_faiss
from pyserini_jpq.index.folder import INDEX, IndexFolder
from pyserini_jpq.train.data import TrainingQuery
from pyserini_jpq.train.dev import DevSet
from pyserini_jpq.train.model import JPQModel
from pyserini_jpq.train.negatives import live_search
from pyserini_jpq.train.recipe import Recipe
from pyserini_jpq.train.trainer import Trainer

DevTopics = tuple[Mapping[str, str], Mapping[str, Mapping[str, int]]]


def make_trainer(
    index: IndexFolder,
    queries: Sequence[TrainingQuery],
    recipe: Recipe,
    dev: DevTopics | None,
    args: argparse.Namespace,
    folder: Path,
) -> Trainer:
    """Load encoder and index, and make the trainer that will change copies of both.

    Parameters
    ----------
    index
        The index to start from.
    queries
        Training queries.
    recipe
        The numbers.
    dev
        Dev topics and qrels, if there are any.
    args
        The flags of the command: device, threads, dev_metric, checkpoint_every.
    folder
        Where checkpoints go.
    """
    import faiss

    if args.threads:
        torch.set_num_threads(args.threads)
        faiss.omp_set_num_threads(args.threads)
    torch.manual_seed(recipe.seed)
    device = resolve_device(args.device)
    source = query_encoder_source(index)
    tower = Tower.load(source.card, source.folder)
    check_encoder(index, tower, source.name)
    whole = read_faiss(index.path / INDEX)
    quantizer, codes = from_faiss(whole, index.path)
    model = JPQModel(tower, quantizer, codes).to(device)
    search = live_search(model, whole)
    dev_set = DevSet(*dev, index.docids(), args.dev_metric) if dev else None
    evaluate = (lambda: dev_set.evaluate(model, search)) if dev_set else None
    return Trainer(model, search, queries, recipe, evaluate, folder, args.checkpoint_every)
