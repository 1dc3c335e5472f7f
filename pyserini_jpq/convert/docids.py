"""Docids for the ids of a faiss index, and back: lists, the authors' pid2offset maps, and the prefix D."""

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pyserini_jpq.convert.foreign import Ids
from pyserini_jpq.data.ids import check_docids, words_of
from pyserini_jpq.errors import ConversionError
from pyserini_jpq.files import beside, move_into_place, write_text_atomically
from pyserini_jpq.trust.unpickle import load_plain_dict

_PICKLES = (".pickle", ".pkl", ".p")


@dataclass(frozen=True)
class DocidStyle:
    """The prefix to add to docids without it, and the prefix to strip.

    The authors' maps for MS MARCO documents hold `1555982` where topics and qrels have `D1555982`.
    """

    add: str = ""
    strip: str = ""

    def __call__(self, docid: str) -> str:
        """Return a docid in this style."""
        docid = docid.removeprefix(self.strip)
        return docid if docid.startswith(self.add) else self.add + docid


def docids_of(
    ids: Ids, docid: Path | None = None, pid2offset: Path | None = None, style: DocidStyle | None = None
) -> list[str]:
    """Return the docids of documents by their ids in a faiss index.

    Parameters
    ----------
    ids
        [N] int64, rising.
    docid
        File of docids, one a line; an id is a line's number, from 0.
    pid2offset
        The authors' map of docids to ids: a pickle of a dict, or a TSV `docid<TAB>id`.
    style
        Prefixes to add and to strip; none by default.

    Returns
    -------
    list of str
        N docids; the ids themselves where neither file is given.

    Raises
    ------
    ConversionError
        If a file cannot be read, does not fit the ids, or a docid is empty, holds white space or comes twice.
    """
    if docid is not None and pid2offset is not None:
        raise ConversionError("both a docid file and a pid2offset map; give one of them")
    if docid is not None:
        known: dict[int, str] = dict(enumerate(words_of(docid, ConversionError)))
    elif pid2offset is not None:
        known = _inverted(pid2offset)
    else:
        return [(style or DocidStyle())(str(i)) for i in ids.tolist()]
    where = docid or pid2offset
    found = [known.get(i) for i in ids.tolist()]
    if None in found:
        raise ConversionError(f"{where} has no docid for the id {ids[found.index(None)]}; it is that of another index")
    whole = bool(ids[-1] == len(ids) - 1)  # all rows of a collection
    if whole and len(known) != len(ids):
        raise ConversionError(f"{where} has {len(known)} docids for {len(ids)} documents; it is that of another index")
    docids = [(style or DocidStyle())(str(d)) for d in found]
    check_docids(lambda: docids, str(where), ConversionError)
    return docids


def write_docid_file(docids: Sequence[str], output: Path) -> None:
    """Write docids, one a line."""
    write_text_atomically(output, "".join(f"{docid}\n" for docid in docids))


def write_pid2offset(docids: Sequence[str], output: Path) -> None:
    """Write the authors' map of docids to row offsets: by its name, a TSV or a pickle of a dict.

    In a pickle, docids that are numbers are ints, as the authors' scripts look them up.
    """
    if output.suffix.lower() not in _PICKLES:
        write_text_atomically(output, "".join(f"{docid}\t{row}\n" for row, docid in enumerate(docids)))
        return
    numbers = all(docid.isascii() and docid.isdigit() and str(int(docid)) == docid for docid in docids)
    output.parent.mkdir(parents=True, exist_ok=True)
    with beside(output) as partial:
        with open(partial, "wb") as file:
            pickle.dump({int(d) if numbers else d: row for row, d in enumerate(docids)}, file, protocol=4)
        move_into_place(partial, output)


def _inverted(path: Path) -> dict[int, str]:
    """Return the map from offsets to docids."""
    if not path.is_file():
        raise ConversionError(f"{path} does not exist; --pid2offset takes a pickle or a TSV, docid<TAB>offset")
    pairs = list(load_plain_dict(path).items()) if path.suffix.lower() in _PICKLES else list(_pairs(path))
    by_offset = {offset: str(pid) for pid, offset in pairs}
    if len(by_offset) != len(pairs):
        offsets = np.sort([offset for _, offset in pairs])
        raise ConversionError(f"{path} maps two docids to the offset {offsets[:-1][np.diff(offsets) == 0][0]}")
    return by_offset


def _pairs(path: Path) -> Iterator[tuple[str, int]]:
    for number, line in enumerate(words_of(path, ConversionError), start=1):
        pid, tab, offset = line.partition("\t")
        if not tab or not (offset.isascii() and offset.isdigit()):
            raise ConversionError(f"{path} line {number}: expected docid<TAB>offset, not {line[:80]!r}")
        yield pid, int(offset)
