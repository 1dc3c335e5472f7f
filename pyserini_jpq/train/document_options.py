"""Options of the training of the document side, which comes before that of the query side."""

import argparse
from dataclasses import dataclass

from pyserini_jpq import cli
from pyserini_jpq.options import Options, option

DOCUMENT_SIDES = ("linear", "lora", "full")


def not_negative(text: str) -> float:
    """Parse a number of at least 0."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def share(text: str) -> float:
    """Parse a number above 0 and at most 1."""
    if not 0 < (value := not_negative(text)) <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 1")
    return value


@dataclass(frozen=True)
class DocumentRecipe(Options):
    """What determines the result of training the document side."""

    train_documents: str | None = option(
        None,
        "train the document side first, then code documents again: a linear map of their vectors, or their encoder, "
        "by low-rank updates or in full",
        choices=DOCUMENT_SIDES,
    )
    document_epochs: int = option(2, "times that every training query is seen in it", cli.positive_int)
    document_lr: float | None = option(
        None, "learning rate of the map (default: 1e-4), or of a document encoder of its own (2e-5)", cli.positive_float
    )
    document_negatives: int = option(
        7, "documents that are encoded for each query where the document encoder is trained", cli.positive_int
    )
    document_share: float | None = option(
        None, "of what it changed, what is kept (default: half with a map, all with an encoder)", share
    )
    balance: float = option(
        0.0, "codes of a step's documents use all centroids alike: epsilon of the constraint; 0 for none", not_negative
    )
    commitment: float = option(0.0, "weight of the squared distance from a document's vector to its code", not_negative)
    recode_every: int = option(
        50, "steps after which all documents get the codes of the map as it is", cli.positive_int
    )

    @property
    def kept_share(self) -> float:
        """The share of the change that is kept."""
        return self.document_share or (0.5 if self.train_documents == "linear" else 1.0)

    @property
    def document_rate(self) -> float:
        """The learning rate of the documents."""
        return self.document_lr or (1e-4 if self.train_documents == "linear" else 2e-5)
