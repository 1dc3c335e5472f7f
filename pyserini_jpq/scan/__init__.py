"""An exact, fast scan of product quantizer codes: the k best documents by the sum of their lookup table entries.

It knows nothing of faiss, rotations or centroids: codes and tables go in, scores and rows come out. The work is done by
a C++ extension that pip builds where it finds a compiler; `available()` says whether it is there.
"""

from pyserini_jpq.scan.layout import Blocks, in_blocks
from pyserini_jpq.scan.scanner import ListScanner, PQScanner, available, turned_off

__all__ = ["Blocks", "ListScanner", "PQScanner", "available", "in_blocks", "turned_off"]
