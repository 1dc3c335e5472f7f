"""What the command does: read, train, write; nothing is written before all that is named has been checked."""

import argparse
import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyserini_jpq import cli
from pyserini_jpq.cards import ENCODER_FOLDER_CARD
from pyserini_jpq.data.qrels import read_qrels
from pyserini_jpq.data.runs import read_scores
from pyserini_jpq.data.topics import read_topics
from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.errors import JPQError, OutputError, TrainingError
from pyserini_jpq.files import refuse_existing, remove, write_json_atomically
from pyserini_jpq.index.folder import MANIFEST, IndexFolder
from pyserini_jpq.paths import jpq_name
from pyserini_jpq.prebuilt import obtain_index
from pyserini_jpq.train.data import Coverage, TrainingQuery, training_queries, unlabelled_queries
from pyserini_jpq.train.output import write_encoder, write_index
from pyserini_jpq.train.recipe import Recipe
from pyserini_jpq.train.setup import Materials, make_trainer
from pyserini_jpq.train.trainer import Trainer

_SETTINGS = "settings.json"
_WRITING = "writing"


def train_and_write(args: argparse.Namespace, recipe: Recipe) -> None:
    """Train by the flags of `python -m pyserini_jpq.train` and write index and encoder.

    Raises
    ------
    JPQError
        If anything that the flags name cannot be used.
    """
    index = IndexFolder(obtain_index(args.index, build=True))
    output = args.output or index.path.with_name(jpq_name(index.path.name))
    encoder_output = args.output_encoder or Path("encoders") / output.name
    folder = training_folder(output)
    _check_outputs(index.path, output, encoder_output)
    refuse_existing(output, args.overwrite, MANIFEST)
    # An encoder that this very run was writing when it was stopped is in nobody's way.
    was_writing = args.resume and (folder / _WRITING).exists()
    refuse_existing(encoder_output, args.overwrite or was_writing, ENCODER_FOLDER_CARD)
    docids = index.docids()
    queries, coverage = _queries(args, recipe, docids)
    materials = Materials(
        index,
        docids,
        queries,
        find_embeddings(index, docids, args.embeddings),
        read_scores(args.scores) if args.scores else None,
        (read_topics(args.dev_topics), read_qrels(args.dev_qrels)) if args.dev_topics else None,
    )
    if not args.resume:
        remove(folder)
    trainer = make_trainer(materials, recipe, args, folder)
    if trainer.ranks.is_first:
        cli.say(_summary(coverage, trainer))
    _begin_or_resume(folder, _fingerprint(materials, trainer.recipe, args), trainer)
    trainer.run()
    if trainer.ranks.is_first:
        (folder / _WRITING).touch()
        _write(trainer, index, coverage, args, output, encoder_output)
        remove(folder)
        cli.say(f"index: {output}\nquery encoder: {encoder_output}")
    trainer.ranks.leave()


def training_folder(output: Path) -> Path:
    """Return where checkpoints lie until the index is written: beside it."""
    return output.with_name(f".{output.name}.training")


def find_embeddings(index: IndexFolder, docids: Sequence[str], given: Path | None) -> Embeddings | None:
    """Open the uncompressed embeddings of an index: those that are given, or those that it names, where they still are.

    Raises
    ------
    TrainingError
        If those that are given are of other documents.
    EmbeddingsError
        If they cannot be read.
    """
    folder = given or index.embeddings()
    if folder is None or (given is None and not folder.is_dir()):
        return None
    try:
        embeddings = Embeddings(folder)
        same = embeddings.documents == index.manifest.documents and list(embeddings.docids()) == docids
    except JPQError:
        if given:
            raise
        return None
    if same:
        return embeddings
    if given:
        raise TrainingError(f"{folder} does not hold the embeddings of the documents of {index.path}, in their order")
    return None


def _check_outputs(index: Path, output: Path, encoder_output: Path) -> None:
    """Raise OutputError where one of three folders would replace another."""
    if output.resolve() == index.resolve():
        raise OutputError(f"--output is --index ({output}); training starts from an index and leaves it as it is")
    for path, flag in ((index, "--index"), (output, "--output")):
        if encoder_output.resolve() == path.resolve():
            raise OutputError(f"--output-encoder is {flag} ({path}); give the encoder a folder of its own")


def _queries(args: argparse.Namespace, recipe: Recipe, docids: Sequence[str]) -> tuple[list[TrainingQuery], Coverage]:
    topics = read_topics(args.topics)
    if args.qrels is None:
        return unlabelled_queries(topics), Coverage(len(topics), 0, 0, 0)
    queries, coverage = training_queries(topics, read_qrels(args.qrels), docids, args.qrels)
    if coverage.unknown_documents:
        cli.warn(f"{args.qrels} names {coverage.unknown_documents} relevant documents that the index does not hold")
    if coverage.queries_without_text:
        cli.warn(f"{args.qrels} judges {coverage.queries_without_text} queries that {args.topics} does not hold")
    return queries, coverage


def _summary(coverage: Coverage, trainer: Trainer) -> str:
    documents, recipe = len(trainer.model.codes), trainer.recipe
    loss = recipe.loss + (f" + {recipe.distill_weight:g} distillation" if recipe.distill_weight else "")
    labels = f" with {coverage.judgements} relevant documents" if coverage.judgements else ""
    if held_out := coverage.queries - trainer.batches.queries:
        labels += f" ({held_out} held out)"
    return (
        f"{coverage.queries} queries{labels}, {documents} documents, {trainer.total} steps on {trainer.device}, "
        f"loss {loss}"
    )


def _write(
    trainer: Trainer,
    index: IndexFolder,
    coverage: Coverage,
    args: argparse.Namespace,
    output: Path,
    encoder_output: Path,
) -> None:
    share, means = trainer.take_best()
    if means:
        shown = ", ".join(f"{of:g}: {mean:.4f}" for of, mean in means.items())
        cli.say(f"kept {share:g} of what training changed; {args.dev_metric} by share: {shown}")
    training = {
        "recipe": dataclasses.asdict(trainer.recipe),
        "queries": coverage.queries,
        "judgements": coverage.judgements,
        "steps": trainer.step_number,
        "dev_metric": args.dev_metric if trainer.evaluate else None,
        "history": trainer.history,
        "trained_share": share,
        "by_trained_share": means,
    }
    encoder = write_encoder(trainer.model, encoder_output, overwrite=True)
    write_index(index, trainer.model, encoder, training, trainer.log.path, output, args.overwrite)


def _fingerprint(materials: Materials, recipe: Recipe, args: argparse.Namespace) -> dict[str, Any]:
    """Return what must be the same for a checkpoint to be taken up."""
    digest = hashlib.sha256()
    for query in materials.queries:
        labels = list(zip(query.positives.tolist(), query.grades.tolist(), strict=True))
        digest.update(f"{query.qid}\t{query.text}\t{labels}\n".encode())
    manifest = materials.index.manifest
    settings: Mapping[str, Any] = {
        "index": manifest.files,
        "query_encoder": manifest.query_encoder["sha256"],
        "queries": digest.hexdigest(),
        "recipe": dataclasses.asdict(recipe),
        "embeddings": materials.embeddings.manifest if materials.embeddings and recipe.needs_embeddings else None,
        "scores": args.scores,
        "dev": [args.dev_topics, args.dev_qrels, args.dev_metric],
        "lora_rank": args.lora_rank,
    }
    parsed: dict[str, Any] = json.loads(json.dumps(settings))
    return parsed


def _begin_or_resume(folder: Path, settings: dict[str, Any], trainer: Trainer) -> None:
    path = folder / _SETTINGS
    if path.is_file() and trainer.checkpoints.newest_path():
        if json.loads(path.read_text(encoding="utf-8")) != settings:
            raise TrainingError(
                f"{folder} holds the checkpoint of a run with another index, queries or recipe; "
                "give --no-resume to start over, or another --output"
            )
        if trainer.resume() and trainer.ranks.is_first:
            cli.say(f"going on after step {trainer.step_number} of {trainer.total} (--no-resume starts over)")
    elif trainer.ranks.is_first:
        # What a run wrote that was killed before its first checkpoint.
        trainer.log.rewind(-1)
    if trainer.ranks.is_first:
        folder.mkdir(parents=True, exist_ok=True)
        write_json_atomically(path, settings)
