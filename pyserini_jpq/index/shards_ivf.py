"""Inverted lists of an index in shards: each shard sorts its documents by the same directions.

So a query probes the lists that it probes in the unsharded index, and finds the same documents in them.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pyserini_jpq.errors import IndexFolderError
from pyserini_jpq.files import begins_again, exclusive
from pyserini_jpq.index.faiss_format import quantizer_of, stored_codes, to_faiss, unpack
from pyserini_jpq.index.faiss_io import write_faiss
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.index.ivf import (
    by_bytes,
    check_lists,
    coarse_of,
    directions_of,
    empty_lists,
    lists_in,
    lists_of,
    make_again,
    sorted_lists,
)
from pyserini_jpq.index.ivf_file import read_ivf
from pyserini_jpq.index.joined import JoinedCodes, Places
from pyserini_jpq.index.manifest import IVF


def build_lists(index: IndexFolder, lists: int, indexes: Sequence[Any]) -> Iterator[Any]:
    """Yield the inverted lists of each part of an index.

    Parameters
    ----------
    index
        The index, in shards or not.
    lists
        Number of lists.
    indexes
        The faiss indexes of its parts.

    Raises
    ------
    IndexFolderError
        If there are more lists than documents.
    """
    stored = codes_of(index, indexes)
    check_lists(lists, len(stored), index.path)
    quantizer = by_bytes(quantizer_of(indexes[0], index.parts[0].path))
    coarse = coarse_of(quantizer, stored, lists)
    places = Places([part.manifest.documents for part in index.parts])
    for number in range(len(index.parts)):
        yield sorted_lists(coarse, quantizer, stored, places.rows(number))


def write_lists(index: IndexFolder, lists: int) -> None:
    """Write the inverted lists of an index in shards, one shard after the other; raises as `write_ivf`."""
    with exclusive(index.path), begins_again():
        index.check_unchanged()
        made = build_lists(index, lists, [part.read(mapped=True) for part in index.parts])
        for part, of_part in zip(index.parts, made, strict=True):
            with part.adding(IVF) as partial:
                write_faiss(of_part, partial)


def read_lists(index: IndexFolder, indexes: Sequence[Any]) -> list[Any]:
    """Open the inverted lists of all parts of an index; none if a part lacks them.

    Raises
    ------
    IndexFolderError
        If a file is damaged, of another index, or of other lists than the first shard's.
    """
    found = [read_ivf(part, own) for part, own in zip(index.parts, indexes, strict=True)]
    if any(lists is None for lists in found):
        return []
    first = _directions(found[0])
    for part, lists in zip(index.parts[1:], found[1:], strict=True):
        if not np.array_equal(_directions(lists), first):
            raise IndexFolderError(
                f"the lists of {part.path} are others than those of {index.parts[0].path}; {make_again(index.path)}"
            )
    return found


def add_lists(index: IndexFolder, like: IndexFolder) -> None:
    """Write lists of an index by the directions of the lists of another of the same quantizer."""
    found = read_ivf(like, like.read(mapped=True))
    own = index.read(mapped=True)
    quantizer, stored = by_bytes(quantizer_of(own, index.path)), stored_codes(own, index.path)
    with index.adding(IVF) as partial:
        write_faiss(sorted_lists(_coarse(found), quantizer, stored, range(len(stored))), partial)


def codes_of(index: IndexFolder, indexes: Sequence[Any]) -> JoinedCodes:
    """Return the codes of all parts of an index, given their faiss indexes, which they are views of."""
    return JoinedCodes([stored_codes(own, part.path) for part, own in zip(index.parts, indexes, strict=True)])


def joined(index: IndexFolder, indexes: Sequence[Any]) -> Any:
    """Return one faiss index of all parts, in memory; of a single part itself."""
    if len(indexes) == 1:
        return indexes[0]
    quantizer = quantizer_of(indexes[0], index.parts[0].path)
    return to_faiss(quantizer, unpack(codes_of(index, indexes)[:], quantizer.m, quantizer.bits))


def joined_lists(index: IndexFolder, indexes: Sequence[Any], found: Sequence[Any]) -> Any:
    """Return the inverted lists of all parts of an index as one, in memory; of a single part those themselves."""
    import faiss

    if len(found) == 1:
        return found[0]
    whole = empty_lists(_coarse(found[0]), by_bytes(quantizer_of(indexes[0], index.path)))
    whole.referenced_objects.append(found[0])  # the directions are its
    inners = [lists_of(of_part) for of_part in found]
    for own, start in zip(inners, Places([own.ntotal for own in inners]).starts, strict=False):
        for number in range(own.nlist):
            if size := own.invlists.list_size(number):
                rows = faiss.rev_swig_ptr(own.invlists.get_ids(number), size) + start
                codes = own.invlists.get_codes(number)
                lists_of(whole).invlists.add_entries(number, size, faiss.swig_ptr(rows), codes)
    whole.ntotal = lists_of(whole).ntotal = index.manifest.documents
    return whole


def _coarse(lists: Any) -> Any:
    import faiss

    return faiss.downcast_index(lists_of(lists).quantizer)


def _directions(lists: Any) -> Any:
    return directions_of(lists_of(lists)).reconstruct_n(0, lists_in(lists))
