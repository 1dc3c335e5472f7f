"""Small models and batches for the tests of training."""

import numpy as np
import pytest
import torch

from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.quantizer import ProductQuantizer
from pyserini_jpq.train.candidates import Candidates, make_candidates
from pyserini_jpq.train.data import TrainingQuery
from pyserini_jpq.train.model import JPQModel
from pyserini_jpq.train.trainer import Trainer


def tiny_model(documents=50, m=4, size=3, k=256):
    """A model without an encoder: its queries are vectors already."""
    rng = np.random.default_rng(3)
    rotation = np.linalg.qr(rng.normal(size=(m * size, m * size)))[0].astype(np.float32)
    quantizer = ProductQuantizer(rotation, rng.normal(size=(m, k, size)).astype(np.float32))
    codes = rng.integers(0, k, (documents, m)).astype(np.uint8)
    return JPQModel(torch.nn.Identity(), quantizer, codes), quantizer, codes


def query(*graded, qid="q", text="a"):
    """A training query; `graded` are (row, grade) pairs."""
    rows, grades = zip(*graded, strict=True) if graded else ((), ())
    return TrainingQuery(qid, text, torch.tensor(rows, dtype=torch.int64), torch.tensor(grades).float())


def candidates_of(queries, chosen, **options) -> Candidates:
    chosen = torch.tensor(chosen)
    return make_candidates(queries, chosen, options.pop("retrieved", chosen.shape[1]), **options)


def assert_same(one, other):
    """Compare what two runs wrote, each into `x` and `enc` of a folder, bit for bit."""
    for name in ("index", "docid", "initial_centroids.npy"):
        assert (one / "x" / name).read_bytes() == (other / "x" / name).read_bytes()
    hashes = [IndexFolder(folder / "x").manifest.query_encoder["sha256"] for folder in (one, other)]
    assert hashes[0] == hashes[1]


def interrupted(monkeypatch, call, stops):
    """Call a training for each n of `stops`, stopped after n steps of all calls; return the numbers of the steps."""
    steps, step = [], Trainer.step
    for stops_at in stops:

        def stopped(self, batch, at=stops_at):
            if len(steps) == at:
                raise MemoryError
            steps.append(self.step_number)
            return step(self, batch)

        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "step", stopped)
            with pytest.raises(MemoryError):
                call()
    return steps
