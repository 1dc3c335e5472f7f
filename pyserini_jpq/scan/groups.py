"""Codes as the scan reads them fastest: 512 documents at a time, by subspace."""

import numpy as np

from pyserini_jpq.quantizer import Codes

GROUP = 512
"""Documents of a group."""


def groups_of(documents: int) -> int:
    """Return how many groups so many documents take."""
    return -(-documents // GROUP)


def grouped(codes: Codes) -> Codes:
    """Return codes turned round group by group.

    Parameters
    ----------
    codes
        [N, M] uint8.

    Returns
    -------
    numpy.ndarray
        [ceil(N / 512), M, 512] uint8, a copy: code j of document d stands at [d // 512, j, d % 512]; what is beyond the
        last document is 0.
    """
    documents, m = codes.shape
    groups = groups_of(documents)
    if missing := groups * GROUP - documents:
        codes = np.concatenate([codes, np.zeros((missing, m), dtype=np.uint8)])
    turned: Codes = np.ascontiguousarray(codes.reshape(groups, GROUP, m).transpose(0, 2, 1))
    return turned
