"""`python -m pyserini_jpq.train`: an OPQ index, topics and qrels become a JPQ index and its query encoder."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pyserini_jpq import cli
from pyserini_jpq.paths import jpq_name
from pyserini_jpq.train.recipe import Recipe, add_recipe_flags, recipe_of


def define_flags() -> cli.OneLineParser:
    """Return the parser of this command."""
    parser = cli.parser("train", "Train query encoder and centroids; run again after an interruption, it goes on.")
    parser.add_argument("--index", default="msmarco-v1-passage.opq-m96", help="index folder or name to start from")
    parser.add_argument("--topics", default="msmarco-passage-train", help="training topics: file or Pyserini name")
    parser.add_argument(
        "--qrels",
        help="training qrels: file or Pyserini name (default: those of msmarco-passage-train, with its topics)",
    )
    parser.add_argument("--embeddings", type=Path, help="uncompressed embeddings (default: those that the index names)")
    parser.add_argument("--scores", help="file of `qid docid score` lines of a stronger model, for --loss margin-mse")
    parser.add_argument("--output", type=Path, help="index folder to write (default: --index with .jpq for .opq)")
    parser.add_argument("--output-encoder", type=Path, help="encoder folder to write (default: encoders/NAME)")
    parser.add_argument("--recipe", help="index card whose recipe to take (default: that of --output, if any)")
    parser.add_argument("--overwrite", action="store_true", help="replace what the outputs hold")
    _add_dev_flags(parser)
    _add_checkpoint_flags(parser)
    _add_machine_flags(parser)
    add_recipe_flags(parser)
    return parser


def _add_dev_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("dev", "with dev topics the best model is written, not the last")
    group.add_argument("--dev-topics", help="dev topics")
    group.add_argument("--dev-qrels", help="dev qrels")
    group.add_argument("--dev-metric", default="nDCG@10", help="what is best, by a name of ir_measures")
    group.add_argument("--eval-every", type=cli.positive_int, help="steps between evaluations (default: an epoch)")
    group.add_argument("--patience", type=cli.positive_int, help="evaluations without a new best that end training")


def _add_checkpoint_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("checkpoints and logs")
    group.add_argument("--checkpoint-every", type=cli.positive_int, default=1000, help="steps between checkpoints")
    group.add_argument("--keep-checkpoints", type=cli.positive_int, default=2, help="how many are kept")
    group.add_argument(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="go on from the newest checkpoint of an interrupted run, if there is one",
    )
    group.add_argument("--log-every", type=cli.positive_int, default=10, help="steps between lines of training.jsonl")
    group.add_argument("--tensorboard", type=Path, help="folder to log to for TensorBoard")


def _add_machine_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("machine", "start the command by torchrun for several GPUs or machines")
    group.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, or auto: a GPU if there is one")
    group.add_argument("--threads", type=cli.positive_int, default=None, help="most threads to use; all by default")
    group.add_argument(
        "--dtype",
        choices=("auto", "float32", "bfloat16", "float16"),
        default="auto",
        help="what the encoder computes in; weights and scores stay float32",
    )
    group.add_argument("--accumulate", type=cli.positive_int, default=1, help="parts that a batch is computed in")
    group.add_argument(
        "--gradient-checkpointing", action="store_true", help="compute activations twice instead of keeping them"
    )
    group.add_argument("--compile", action="store_true", help="compile the encoder with torch.compile")
    group.add_argument("--lora-rank", type=cli.positive_int, help="train low-rank updates of this rank (extra: lora)")


def main(argv: Sequence[str]) -> None:
    """Run the command."""
    parser = define_flags()
    args = parser.parse_args(argv)
    if bool(args.dev_topics) != bool(args.dev_qrels):
        parser.error("--dev-topics and --dev-qrels go together")
    if args.dev_topics:
        _check_metric(args.dev_metric)
    args.recipe = args.recipe or _card_of_output(args)
    recipe = recipe_of(args)
    if (recipe.loss == "margin-mse") != bool(args.scores):
        parser.error("--loss margin-mse and --scores go together")
    if args.qrels is None and args.topics == parser.get_default("topics"):
        args.qrels = args.topics
    if args.qrels is None and recipe.learns_from_labels:
        parser.error(f"--loss {recipe.loss} learns from labels: give --qrels, or --loss distill, which needs none")
    train(args, recipe)


def train(args: argparse.Namespace, recipe: Recipe) -> None:
    """Train what the flags name."""
    from pyserini_jpq.train.command import train_and_write

    train_and_write(args, recipe)


def _check_metric(name: str) -> None:
    from pyserini_jpq.errors import JPQError
    from pyserini_jpq.evaluate.metrics import parse_metrics, unknown_metrics

    if unknown := parse_metrics([name])[1]:
        raise JPQError(f"--dev-metric: {unknown_metrics(unknown)}")


def _card_of_output(args: argparse.Namespace) -> str | None:
    """Return the card of the index that is trained here, if there is one: its recipe is what is meant."""
    from pyserini_jpq.cards import has_card

    name = args.output.name if args.output else jpq_name(Path(args.index).name)
    return name if has_card("indexes", name) else None


if __name__ == "__main__":
    sys.exit(cli.run(main))
