"""`python -m pyserini_jpq.train`: an OPQ index, topics and qrels become a JPQ index and its query encoder."""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyserini_jpq import cli
from pyserini_jpq.errors import OutputError, TrainingError
from pyserini_jpq.train.recipe import Recipe, add_recipe_flags, recipe_of

_SETTINGS = "settings.json"


def define_flags() -> cli.OneLineParser:
    """Return the parser of this command."""
    parser = cli.parser("train", "Train query encoder and centroids; run again after an interruption, it goes on.")
    parser.add_argument("--index", default="msmarco-v1-passage.opq-m96", help="index folder or name to start from")
    parser.add_argument("--topics", default="msmarco-passage-train", help="training topics: file or Pyserini name")
    parser.add_argument("--qrels", default="msmarco-passage-train", help="training qrels: file or Pyserini name")
    parser.add_argument("--dev-topics", help="dev topics; with them the best model is kept, not the last")
    parser.add_argument("--dev-qrels", help="dev qrels")
    parser.add_argument("--dev-metric", default="nDCG@10", help="what is best, by a name of ir_measures")
    parser.add_argument("--output", type=Path, help="index folder to write (default: --index with .jpq for .opq)")
    parser.add_argument("--output-encoder", type=Path, help="encoder folder to write (default: encoders/NAME)")
    parser.add_argument("--recipe", help="index card whose recipe to take (default: that of --output, if any)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, or auto: a GPU if there is one")
    parser.add_argument("--threads", type=cli.positive_int, default=None, help="most threads to use; all by default")
    parser.add_argument("--checkpoint-every", type=cli.positive_int, default=1000, help="steps between checkpoints")
    parser.add_argument(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="go on from the checkpoint of an interrupted run, if there is one",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what the outputs hold")
    add_recipe_flags(parser)
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the command."""
    parser = define_flags()
    args = parser.parse_args(argv)
    if bool(args.dev_topics) != bool(args.dev_qrels):
        parser.error("--dev-topics and --dev-qrels go together")
    args.recipe = args.recipe or _card_of_output(args)
    train(args, recipe_of(args))


def train(args: argparse.Namespace, recipe: Recipe) -> None:
    """Train what the flags name."""
    from pyserini_jpq.files import partial_folder, refuse_existing, remove
    from pyserini_jpq.index.folder import IndexFolder
    from pyserini_jpq.prebuilt import obtain_index
    from pyserini_jpq.topics import read_qrels, read_topics

    index = IndexFolder(obtain_index(args.index, build=True))
    output = args.output or index.path.with_name(_jpq_name(index.path.name))
    encoder_output = args.output_encoder or Path("encoders") / output.name
    if output.resolve() == index.path.resolve():
        raise OutputError(f"--output is --index ({output}); training starts from an index and leaves it as it is")
    refuse_existing(output, args.overwrite)
    refuse_existing(encoder_output, args.overwrite)

    from pyserini_jpq.train.data import training_queries

    docids = index.docids()
    queries, coverage = training_queries(read_topics(args.topics), read_qrels(args.qrels), docids, args.qrels)
    if coverage.unknown_documents:
        cli.warn(f"{args.qrels} names {coverage.unknown_documents} relevant documents that the index does not hold")
    if coverage.queries_without_text:
        cli.warn(f"{args.qrels} judges {coverage.queries_without_text} queries that {args.topics} does not hold")

    from pyserini_jpq.train.setup import make_trainer

    folder = partial_folder(output)
    if not args.resume:
        remove(folder)
    dev = (read_topics(args.dev_topics), read_qrels(args.dev_qrels)) if args.dev_topics else None
    trainer = make_trainer(index, queries, recipe, dev, args, folder)
    cli.say(
        f"{coverage.queries} queries with {coverage.judgements} relevant documents, {len(docids)} documents, "
        f"{trainer.total} steps on {trainer.device}"
    )
    _begin_or_resume(folder, _fingerprint(index, queries, recipe, args), trainer)
    trainer.run()

    from pyserini_jpq.train.output import write_encoder, write_index

    training = {
        "recipe": dataclasses.asdict(recipe),
        "loss": "reciprocal_rank",
        "queries": coverage.queries,
        "steps": trainer.total,
        "dev_metric": args.dev_metric if dev else None,
        "history": trainer.history,
    }
    encoder = write_encoder(trainer.model, encoder_output, args.overwrite)
    write_index(index, trainer.model, encoder, training, output, args.overwrite)
    remove(folder)
    cli.say(f"index: {output}\nquery encoder: {encoder_output}")


def _card_of_output(args: argparse.Namespace) -> str | None:
    """Return the card of the index that is trained here, if there is one: its recipe is what is meant."""
    from pyserini_jpq.catalog import has_card

    name = args.output.name if args.output else _jpq_name(Path(args.index).name)
    return name if has_card("indexes", name) else None


def _jpq_name(name: str) -> str:
    return name.replace(".opq", ".jpq") if ".opq" in name else f"{name}.jpq"


def _fingerprint(index: Any, queries: Sequence[Any], recipe: Recipe, args: argparse.Namespace) -> dict[str, Any]:
    """Return what must be the same for a checkpoint to be taken up."""
    import hashlib

    digest = hashlib.sha256()
    for query in queries:
        digest.update(f"{query.qid}\t{query.text}\t{query.positives.tolist()}\n".encode())
    return {
        "index": index.manifest.files,
        "query_encoder": index.manifest.query_encoder["sha256"],
        "queries": digest.hexdigest(),
        "recipe": dataclasses.asdict(recipe),
        "dev": [args.dev_topics, args.dev_qrels, args.dev_metric],
    }


def _begin_or_resume(folder: Path, settings: dict[str, Any], trainer: Any) -> None:
    import json

    from pyserini_jpq.files import write_json_atomically

    path = folder / _SETTINGS
    if path.is_file():
        if json.loads(path.read_text(encoding="utf-8")) != json.loads(json.dumps(settings)):
            raise TrainingError(
                f"{folder} holds the checkpoint of a run with another index, queries or recipe; "
                "give --no-resume to start over, or another --output"
            )
        if trainer.resume():
            cli.say(f"going on after step {trainer.step_number} of {trainer.total} (--no-resume starts over)")
    folder.mkdir(parents=True, exist_ok=True)
    write_json_atomically(path, settings)


if __name__ == "__main__":
    sys.exit(cli.run(main))
