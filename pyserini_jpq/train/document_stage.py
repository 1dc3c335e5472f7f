"""What the two stages of the document side share: training once, and coding the documents anew."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq import cli
from pyserini_jpq.errors import TrainingError
from pyserini_jpq.index.assign import Assigner
from pyserini_jpq.index.state import read_state, write_state
from pyserini_jpq.quantizer import Floats, ProductQuantizer
from pyserini_jpq.train.document_model import DocumentModel
from pyserini_jpq.train.machine import Machine
from pyserini_jpq.train.options import TrainOptions
from pyserini_jpq.train.source import SourceIndex
from pyserini_jpq.train.supervision import Supervision
from pyserini_jpq.train.trainer import Trainer

BLOCK = 16384
"""Documents that are coded at once."""


def check_codes(source: SourceIndex) -> None:
    """Raise TrainingError if codes are additive, which are not the nearest centroids one by one."""
    if source.quantizer.additive:
        raise TrainingError("--train-documents goes with product codes; the index has additive ones")


def trained_once(path: Path, names: tuple[str, ...], train: Callable[[], dict[str, Any]]) -> Any:
    """Return the arrays of a file by their names; train what is in it if there is none."""
    if (kept := read_state(path, *names)) is None:
        write_state(path, **train())
        kept = read_state(path, *names)
    return kept


def trained(
    model: DocumentModel, supervision: Supervision, options: TrainOptions, machine: Machine, folder: Path
) -> None:
    """Train a model to its end, from the newest checkpoint if there is one."""
    trainer = Trainer(model, supervision, options, machine, folder)
    if trainer.resume() and machine.ranks.is_first:
        cli.say(f"documents: going on after step {trainer.step_number} of {trainer.total} (--no-resume starts over)")
    trainer.run()
    trainer.take_best()


def coded_anew(
    source: SourceIndex, quantizer: ProductQuantizer, of_documents: Floats, blocks: Iterable[Floats], **changes: Any
) -> SourceIndex:
    """Return an index whose documents have the nearest centroids of a quantizer.

    Parameters
    ----------
    source
        The index before.
    quantizer
        Rotation of queries, centroids and biases.
    of_documents
        What takes documents' vectors to the centroids, [D, D] float32.
    blocks
        Documents' vectors, [n, D] float32 each.
    changes
        Further fields.
    """
    assigner = Assigner(ProductQuantizer(of_documents, quantizer.centroids))
    codes = np.concatenate([assigner.assign(block) for block in blocks])
    return source.coded_anew(codes, quantizer=quantizer, initial_centroids=quantizer.centroids, **changes)
