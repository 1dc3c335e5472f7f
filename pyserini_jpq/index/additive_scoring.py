"""The biases with which additive codes score: what the level of a document's norm says of its score."""

import dataclasses

import numpy as np

from pyserini_jpq.index.additive import AdditiveAssigner
from pyserini_jpq.quantizer import Floats, ProductQuantizer

_PROBES = 512
_NEAREST = 10


def scoring_quantizer(assigning: ProductQuantizer, sample: Floats, seed: int) -> ProductQuantizer:
    """Return the quantizer that scores: no vector for the levels of norms, but biases.

    A score s is an inner product with a vector of the wrong norm. It would be s/√l with the right one, where l is the
    level, or to first order in √l about the mean m of levels s/√m - s (√l - √m)/m. The bias is what of this depends on
    l, for the score of a good hit. Without the expansion the few documents of lowest level would lead all rankings.

    Parameters
    ----------
    assigning
        Quantizer of `train_additive`.
    sample
        [n, D] float32 documents, better others than those of its training. For some of them in place of queries the
        best others are found, whose mean score is that of a good hit.
    seed
        Seed of the choice of documents in place of queries.
    """
    centroids = assigning.centroids.copy()
    centroids[-1] = 0
    scoring = dataclasses.replace(assigning, centroids=centroids)
    codes = AdditiveAssigner(assigning).assign(sample)
    decoded = scoring.decode(codes)
    rows = np.random.default_rng(seed).permutation(len(sample))[:_PROBES]
    scores = scoring.rotate(sample[rows]) @ decoded.T
    scores[np.arange(len(rows)), rows] = -np.inf
    best = np.sort(scores, axis=1)[:, -min(_NEAREST, len(sample) - 1) :]
    levels = assigning.centroids[-1, :, 0]
    biases = np.zeros(centroids.shape[:2], dtype=np.float32)
    biases[-1] = max(0.0, float(best.mean())) * (1 - np.sqrt(levels)) / levels[codes[:, -1]].mean()
    return dataclasses.replace(scoring, biases=biases)
