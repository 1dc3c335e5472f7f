"""`python -m pyserini_jpq.train`: train a JPQ index and its query encoder from an OPQ index, topics and qrels."""

import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from pyserini_jpq import cli
from pyserini_jpq.options import add_flags
from pyserini_jpq.train.document_options import DocumentRecipe
from pyserini_jpq.train.options import WITHOUT_TOPICS, Recipe, TrainOptions, with_recipe

_INDEX, _TOPICS = "msmarco-v1-passage.opq-m96", "msmarco-passage-train"
_DEV = ("dev_metric", "eval_every", "patience")
_KEPT = ("checkpoint_every", "keep_checkpoints", "resume", "log_every", "tensorboard")
_MADE = ("pseudo_queries", "pseudo_kinds", "generator", "margins")
_MACHINE = (
    *("device", "threads", "dtype", "accumulate", "spread_codes"),
    *("gradient_checkpointing", "compile", "lora_rank"),
)


def define_flags() -> cli.OneLineParser:
    """Return the parser of this command."""
    parser = cli.parser("train", "Train query encoder and centroids; run again after an interruption, it goes on.")
    parser.add_argument("--index", default=_INDEX, help="index folder or name to start from")
    parser.add_argument(
        "--topics",
        help=f"training topics: file or Pyserini name (default: {_TOPICS} with the default index, else queries "
        "that are made of the documents)",
    )
    parser.add_argument(
        "--qrels", help=f"training qrels: file or Pyserini name (default: those of {_TOPICS}, with its topics)"
    )
    parser.add_argument("--embeddings", type=Path, help="uncompressed embeddings (default: those that the index names)")
    parser.add_argument("--scores", help="file of `qid docid score` lines of a stronger model, for --loss margin-mse")
    parser.add_argument("--output", type=Path, help="index folder to write (default: --index with .jpq for .opq)")
    parser.add_argument("--output-encoder", type=Path, help="encoder folder to write (default: encoders/NAME)")
    parser.add_argument("--recipe", help="index card whose recipe to take (default: that of --output, if any)")
    parser.add_argument("--overwrite", action="store_true", help="replace what the outputs hold")
    add_flags(parser, TrainOptions, ("yes",))
    group = parser.add_argument_group("no topics", "queries are made of the documents, and need no labels")
    group.add_argument("--corpus", help="collection with the documents' texts, where the index keeps none")
    add_flags(group, TrainOptions, _MADE)
    group = parser.add_argument_group("dev", "with dev topics the best model is written, not the last")
    group.add_argument("--dev-topics", help="dev topics")
    group.add_argument("--dev-qrels", help="dev qrels")
    add_flags(group, TrainOptions, _DEV)
    add_flags(parser.add_argument_group("checkpoints and logs"), TrainOptions, _KEPT)
    about = "start the command by torchrun for several GPUs or machines"
    add_flags(parser.add_argument_group("machine", about), TrainOptions, _MACHINE)
    about = "trained before the query side; then documents get other codes"
    add_flags(parser.add_argument_group("document side", about), DocumentRecipe)
    names = [field.name for field in fields(Recipe) if field not in fields(DocumentRecipe)]
    about = "defaults are for small collections, or those of --recipe"
    add_flags(parser.add_argument_group("recipe", about), Recipe, names)
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the command."""
    args = define_flags().parse_args(argv)
    from pyserini_jpq.train.run import card_of, train

    topics = args.topics or (_TOPICS if args.index == _INDEX else None)
    recipe = args.recipe or (card_of(args.index, args.output) if topics else WITHOUT_TOPICS)
    train(
        args.index,
        topics,
        topics if args.qrels is None and topics == _TOPICS else args.qrels,
        args.output,
        options=with_recipe(vars(args), recipe),
        dev_topics=args.dev_topics,
        dev_qrels=args.dev_qrels,
        embeddings=args.embeddings,
        scores=args.scores,
        corpus=args.corpus,
        output_encoder=args.output_encoder,
        recipe={},  # already in the options
        overwrite=args.overwrite,
    )


if __name__ == "__main__":
    sys.exit(cli.run(main))
