"""Makes a report: measures the missing rows, then writes tables, charts and their figures."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq import cli
from pyserini_jpq.compare import charts, neighbours, tables, wins
from pyserini_jpq.compare.measuring import RUNS, Measuring
from pyserini_jpq.compare.options import RESULTS, CompareOptions, Inputs, check
from pyserini_jpq.compare.pages import Block, Text, as_html, as_markdown
from pyserini_jpq.compare.rows import FLAT, Row, flat_row
from pyserini_jpq.compare.scoring import compare_with, ranked
from pyserini_jpq.data.qrels import read_qrels
from pyserini_jpq.data.runs import read_run
from pyserini_jpq.data.topics import read_topics
from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.evaluate.machine import machine, versions
from pyserini_jpq.evaluate.metrics import Qrels
from pyserini_jpq.files import (
    move_into_place,
    partial_folder,
    remove,
    sha256_of,
    write_json_atomically,
    write_text_atomically,
)
from pyserini_jpq.index.manifest import INDEX
from pyserini_jpq.index.opening import open_folder
from pyserini_jpq.locks import exclusive

_ASKED = "asked.json"
_TEST = (
    "** p < .01, * p < .05 against {0}: two-sided paired t-test, with Holm's correction over the rows. "
    "Codes are of equal bytes where the method allows; systems with a search parameter have its largest value that was "
    "not slower than {0} while it was chosen, or the fastest where all were slower."
)
_SIZES = (
    "Bytes/doc: the code or vector of a document alone. Index file: all that is written, and in parentheses what of it "
    "is not these codes or vectors: rotation and centroids, which do not grow with the collection, and links, lists, "
    "ids or a second copy of the codes laid out for a faster scan, which do. Resident: how much the memory of a fresh "
    "process grew while the index was opened and searched; on a small collection that is mostly what does not depend "
    "on the documents. Docids are in none of them."
)
_SPEED = (
    "One thread, one query at a time, {0} time, of the search alone; the query encoder stands beside it. For a run "
    "that was reranked it is the reranker's time, as the search noted it."
)


def compare(
    inputs: Inputs,
    output: Path,
    options: CompareOptions | None = None,
    overwrite: bool = False,
    command: str = "",
) -> list[Row]:
    """Build, search and measure systems on the same embeddings, and write a report.

    Measured rows stay in a folder beside the report until it is done, so that an interrupted comparison goes on with
    the next row.

    Parameters
    ----------
    inputs
        What is compared.
    output
        The folder of the report.
    options
        How; the defaults of `CompareOptions` if None.
    overwrite
        Replace a report that is there.
    command
        The command that was typed, so that readers can repeat it.

    Returns
    -------
    list of Row
        The reference first.

    Raises
    ------
    JPQError
        If an input cannot be used, or a row of an index cannot be measured.
    """
    options = CompareOptions.of(options)
    check(inputs, options, output, overwrite)
    with exclusive(output):
        return _Report(inputs, options, output, command).make()


class _Report:
    def __init__(self, inputs: Inputs, options: CompareOptions, output: Path, command: str) -> None:
        self._inputs, self._options, self._output, self._command = inputs, options, output, command
        self._topics, self._qrels = read_topics(inputs.topics), read_qrels(inputs.qrels)
        self._folder = partial_folder(output)
        inputs_facts = _facts_of(inputs, options, self._qrels)
        self._facts: dict[str, Any] = {"machine": machine(), "versions": versions(), "inputs": inputs_facts}

    def make(self) -> list[Row]:
        folder = self._folder
        _go_on_or_start(folder, self._identity())
        self._measuring = Measuring(self._inputs, self._options, self._topics, self._qrels, folder)
        rows = self._measuring.rows()
        compare_with(rows[0], rows)
        blocks = self._page(rows)
        write_text_atomically(folder / "report.md", as_markdown(blocks))
        write_text_atomically(folder / "report.html", as_html(blocks, folder))
        write_json_atomically(folder / RESULTS, self._results(rows))
        remove(self._measuring.work)
        for left in list(folder.rglob(".*.partial")):  # by a run that was killed while it wrote
            remove(left)
        (folder / _ASKED).unlink()
        move_into_place(folder, self._output)
        return rows

    def _identity(self) -> dict[str, Any]:
        """Return what all rows depend on beside the indexes; when it changes, all rows are measured again."""
        options, inputs = self._options, self._facts["inputs"]
        names = ("hits", "clock", "seed")
        settings = {"metrics": list(options.metrics), **{name: getattr(options, name) for name in names}}
        apart = ("sha256", "index_sha256", "encoders_of_indexes")
        sizes = {name: value for name, value in inputs.items() if name not in apart}
        hashes = {name: inputs["sha256"].get(name) for name in ("topics", "qrels", "train topics", "train qrels")}
        return {**settings, "device": options.faiss_device, **sizes, **hashes, "versions": self._facts["versions"]}

    def _page(self, rows: list[Row]) -> list[Block]:
        reference, metrics, options = rows[0], list(rows[0].metrics), self._options
        documents, dimension = (self._facts["inputs"][name] for name in ("documents", "dimension"))
        queries = f"{len(self._qrels)} queries over {documents:,} documents of {dimension} dimensions"
        if without := len(self._qrels) - len(self._measuring.topics):
            queries += f"; {without} of the queries have no text in the topics, find nothing, and count 0"
        return [
            Text("title", f"Report: {reference.title}"),
            Text("paragraph", f"{queries}; {options.hits} hits of each. {_TEST.format(reference.title)}"),
            Text("section", "Effectiveness and size"),
            tables.effectiveness(rows, metrics, documents),
            Text("paragraph", _SIZES),
            Text("section", "Speed"),
            tables.speed(rows, metrics[0], options.clock),
            Text("paragraph", _SPEED.format(options.clock)),
            Text("section", "Figures"),
            *charts.draw_all(rows, metrics, options.clock, self._folder),
            *self._neighbours(rows),
            Text("section", "Significance"),
            tables.tests(rows, metrics),
            Text("section", "Wins and losses"),
            wins.counts(reference, rows, metrics[0], list(self._qrels)),
            *self._largest(rows, metrics[0]),
            *self._to_repeat(),
        ]

    def _largest(self, rows: list[Row], metric: str) -> list[Block]:
        """Return the largest wins and losses against flat and against the best baseline of at most the same bytes."""
        reference, flat = rows[0], flat_row(rows)
        small = [row for row in rows if row.measured and row.group == "compressed" and row.code_bytes is not None]
        small = [row for row in small if (row.code_bytes or 0) <= (reference.code_bytes or 0)]
        others = [*([flat] if flat else []), *sorted(small, key=lambda row: -row.metrics[metric])[:1]]
        docids = wins.shown_docids(reference, others, metric, list(self._qrels))
        shown = self._measuring.topics, self._qrels, wins.texts_of(self._options.corpus, docids)
        return [block for other in others for block in wins.largest(reference, other, metric, *shown)]

    def _neighbours(self, rows: list[Row]) -> list[Block]:
        """Draw the query whose positives are nearest to twenty in number."""
        topics, docids, seed = self._measuring.topics, self._measuring.docids, self._options.seed
        qid = min(topics, key=lambda qid: abs(20 - sum(grade > 0 for grade in self._qrels[qid].values())))
        files = {"negatives of BM25": self._options.bm25}
        for kind, name in (("uncompressed", FLAT), ("compressed", rows[0].name)):
            files[f"negatives of the {kind} index"] = str(self._folder / RUNS / f"run.{name}.txt")
        hits = {
            kind: ranked(read_run(file).get(qid, {})) for kind, file in files.items() if file and Path(file).is_file()
        }
        kinds = neighbours.samples(qid, self._qrels, hits, docids, seed)
        vectors, _ = self._measuring.queries(self._inputs.indexes[0])
        query = np.load(vectors)[list(topics).index(qid)]
        embeddings, path = Embeddings(self._inputs.embeddings), self._folder / "neighbours.png"
        return [*neighbours.draw(query, kinds, embeddings, docids, topics[qid], path, seed)]

    def _to_repeat(self) -> list[Block]:
        inputs = self._facts["inputs"]
        named = {"seed": self._options.seed, **self._facts["machine"], **self._facts["versions"]}
        lines = [f"{name} {value}" for name, value in named.items()]
        lines += [f"sha256 of {name}: {value}" for name, value in inputs["sha256"].items()]
        lines += [f"sha256 of the index {name}: {value}" for name, value in inputs["index_sha256"].items()]
        lines += [f"sha256 of the weights of its encoder {n}: {v}" for n, v in inputs["encoders_of_indexes"].items()]
        lines += [f"sha256 of the collection: {inputs['collection_sha256']}"]
        return [Text("section", "To repeat it"), Text("code", self._command), Text("code", "\n".join(lines))]

    def _results(self, rows: list[Row]) -> dict[str, Any]:
        asked = {"command": self._command, **{name: getattr(self._options, name) for name in ("hits", "clock", "seed")}}
        found = {"qids": list(self._qrels), "rows": [row.as_dict() for row in rows]}
        return {**asked, "reference": rows[0].name, **self._facts, **found}


def _go_on_or_start(folder: Path, identity: dict[str, Any]) -> None:
    asked = folder / _ASKED
    if asked.is_file() and json.loads(asked.read_text(encoding="utf-8")) == identity:
        cli.say(f"going on with what was measured before ({folder})")
        return
    remove(folder)
    folder.mkdir(parents=True)
    write_json_atomically(asked, identity)


def _facts_of(inputs: Inputs, options: CompareOptions, qrels: Qrels) -> dict[str, Any]:
    """Return sizes and hashes of the inputs."""
    embeddings = Embeddings(inputs.embeddings)
    manifests = {path.name: open_folder(path).manifest for path in inputs.indexes}
    files = {"topics": inputs.topics, "qrels": inputs.qrels, "bm25": options.bm25, **inputs.runs}
    files |= {"train topics": options.train_topics, "train qrels": options.train_qrels}
    return {
        "documents": embeddings.documents,
        "dimension": embeddings.dimension,
        "queries": len(qrels),
        "collection_sha256": embeddings.manifest.get("collection_sha256"),
        "encoder_sha256": embeddings.encoder["sha256"],
        "index_sha256": {name: manifest.files[INDEX]["sha256"] for name, manifest in manifests.items()},
        "encoders_of_indexes": {name: manifest.query_encoder["sha256"] for name, manifest in manifests.items()},
        "sha256": {name: sha256_of(Path(file)) for name, file in files.items() if file and Path(file).is_file()},
    }
