"""What is searched: random codes and queries, or those of an index and of topics, with judgements where they are."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pyserini_jpq.errors import JPQError
from pyserini_jpq.quantizer import Codes, Floats, ProductQuantizer

QUERIES = 1024
"""Random queries, of which each round takes others."""

_SAMPLE = 1 << 14


@dataclass
class Batch:
    """Queries that are searched at once: vectors, [B, D] float32, and where they have words, B texts."""

    vectors: Floats
    texts: Sequence[str] = ()

    def __len__(self) -> int:
        """Return the number of queries B."""
        return len(self.vectors)

    def part(self, number: int, size: int) -> "Batch":
        """Return part `number` of the queries cut into parts of a size; after the last query comes the first."""
        rows = [row % len(self) for row in range(number * size, (number + 1) * size)]
        return Batch(self.vectors[rows], [self.texts[row] for row in rows] if self.texts else ())


@dataclass
class Data:
    """Documents and queries.

    Attributes
    ----------
    quantizer
        Rotation and centroids, 8 bits.
    codes
        [N, M] uint8.
    queries
        All of them.
    docids, qids, qrels
        Of an index, its topics and their judgements; empty where there are none.
    """

    quantizer: ProductQuantizer
    codes: Codes
    queries: Batch
    docids: Sequence[str] = ()
    qids: Sequence[str] = ()
    qrels: dict[str, dict[str, int]] = field(default_factory=dict)


def vectors_of(quantizer: ProductQuantizer, codes: Codes) -> Floats:
    """Return the decoded vectors of codes, [N, D] float32; biases, if any, are one more coordinate."""
    decoded = quantizer.decode(codes)
    if quantizer.biases is None:
        return decoded
    biases = quantizer.biases[np.arange(quantizer.m), codes].sum(axis=1, dtype=np.float32)
    return np.hstack([decoded, biases[:, None]])


def add_decoded(index: Any, quantizer: ProductQuantizer, codes: Codes) -> None:
    """Add the vectors of codes to a faiss index, block by block."""
    for start in range(0, len(codes), _SAMPLE):
        index.add(vectors_of(quantizer, codes[start : start + _SAMPLE]))


def queries_for(quantizer: ProductQuantizer, queries: Floats) -> Floats:
    """Return queries, [B, D] float32, such that inner products with `vectors_of` are the scores."""
    rotated = quantizer.rotate(queries)
    if quantizer.biases is None:
        return rotated
    return np.hstack([rotated, np.ones((len(rotated), 1), dtype=np.float32)])


def random_quantizer(dimension: int, m: int, bits: int, rng: np.random.Generator) -> ProductQuantizer:
    """Return a quantizer of random rotation and centroids; they matter to the time of no exhaustive engine here."""
    rotation = np.linalg.qr(rng.normal(size=(dimension, dimension)))[0].astype(np.float32)
    return ProductQuantizer(rotation, rng.normal(size=(m, 2**bits, dimension // m)).astype(np.float32))


def random_data(documents: int, dimension: int, m: int, rng: np.random.Generator) -> Data:
    """Return random codes and random queries."""
    _check_m(m, dimension)
    quantizer = random_quantizer(dimension, m, 8, rng)
    codes = rng.integers(0, 256, (documents, m), dtype=np.uint8)
    return Data(quantizer, codes, Batch(rng.normal(size=(QUERIES, dimension)).astype(np.float32)))


def clustered_data(documents: int, dimension: int, m: int, clusters: int, rng: np.random.Generator) -> Data:
    """Return the codes of vectors around random centres, and queries of the same distribution.

    Two vectors of one centre have a cosine of .5 on average. The quantizer is trained on a part of the vectors, without
    a rotation.
    """
    import faiss

    _check_m(m, dimension)
    centres = rng.normal(size=(clusters, dimension)).astype(np.float32)

    def around(count: int) -> Floats:
        noise = rng.standard_normal((count, dimension), dtype=np.float32)
        vectors: Floats = centres[rng.integers(0, len(centres), count)] + noise
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    pq = faiss.ProductQuantizer(dimension, m, 8)
    pq.train(around(_SAMPLE))
    blocks = [min(_SAMPLE, documents - start) for start in range(0, documents, _SAMPLE)]
    codes = np.concatenate([pq.compute_codes(around(size)) for size in blocks])
    centroids = faiss.vector_to_array(pq.centroids).reshape(m, 256, -1).copy()
    return Data(ProductQuantizer(np.eye(dimension, dtype=np.float32), centroids), codes, Batch(around(QUERIES)))


def _check_m(m: int, dimension: int) -> None:
    if dimension % m:
        raise JPQError(f"--m {m} does not divide --dimension {dimension}")


def index_data(name: str, topics_name: str, qrels_name: str | None = None) -> Data:
    """Return the codes of an index, and its topics as its own query encoder encodes them.

    Raises
    ------
    JPQError
        If the index is not of 8 bits, or a file is missing or wrong.
    """
    from pyserini_jpq.data.qrels import read_qrels
    from pyserini_jpq.data.topics import read_topics
    from pyserini_jpq.index.encoders import query_encoder_source
    from pyserini_jpq.index.faiss_format import from_faiss
    from pyserini_jpq.index.folder import IndexFolder, find_index
    from pyserini_jpq.search.encoder import JPQQueryEncoder

    folder = IndexFolder(find_index(name))
    if folder.manifest.bits != 8:
        raise JPQError(f"{folder.path} has codes of {folder.manifest.bits} bits; give an index of 8")
    topics = read_topics(topics_name)
    qrels = read_qrels(qrels_name) if qrels_name else {}
    if qrels:
        topics = {qid: text for qid, text in topics.items() if qid in qrels}
        if not topics:
            raise JPQError(f"{qrels_name} judges none of the topics in {topics_name}")
        qrels = {qid: qrels[qid] for qid in topics}
    index = folder.read()
    quantizer, codes = from_faiss(index, folder.path)
    vectors = JPQQueryEncoder(query_encoder_source(folder)).encode_batch(list(topics.values()))
    return Data(quantizer, codes.copy(), Batch(vectors, list(topics.values())), folder.docids(), list(topics), qrels)
