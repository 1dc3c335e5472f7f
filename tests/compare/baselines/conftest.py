import numpy as np
import pytest


@pytest.fixture(scope="session")
def vectors():
    """600 documents of unit length in 32 dimensions, around 40 centres."""
    rng = np.random.default_rng(5)
    found = rng.normal(size=(40, 32))[rng.integers(0, 40, 600)] + 0.7 * rng.normal(size=(600, 32))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="session")
def queries(vectors):
    rng = np.random.default_rng(6)
    return vectors[:60] + 0.05 * rng.normal(size=(60, 32)).astype(np.float32)


@pytest.fixture(scope="session")
def supervision(vectors):
    """Training queries near 400 documents, each of which is relevant to its own."""
    from pyserini_jpq.compare.baselines.base import Supervision

    rng = np.random.default_rng(7)
    queries = (vectors[:400] + 0.05 * rng.normal(size=(400, 32))).astype(np.float32)
    return Supervision(queries, np.stack([np.arange(400)] * 2, axis=1))
