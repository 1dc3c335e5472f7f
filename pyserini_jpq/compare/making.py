"""Makes a report: measures what is not measured yet, then writes tables, figures and figures' numbers."""

import shlex
from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq import cli
from pyserini_jpq.compare import charts, neighbours, repeating, tables, wins
from pyserini_jpq.compare.measuring import RUNS, Measuring, flat_row
from pyserini_jpq.compare.pages import Block, Text, as_html, as_markdown
from pyserini_jpq.compare.request import FLAT, RESULTS, Request
from pyserini_jpq.compare.rows import Row
from pyserini_jpq.compare.scoring import compare_with, ranked
from pyserini_jpq.compare.steps import read
from pyserini_jpq.data.qrels import read_qrels
from pyserini_jpq.data.runs import read_run
from pyserini_jpq.data.topics import read_topics
from pyserini_jpq.evaluate.metrics import Qrels
from pyserini_jpq.files import (
    move_into_place,
    partial_folder,
    remove,
    write_json_atomically,
    write_text_atomically,
)

_ASKED = "asked.json"
_TEST = (
    "** p < .01, * p < .05 against {0}: two-sided paired t-test, with Holm's correction over the rows. "
    "Codes are of equal bytes where the method allows; systems with an effort have the largest one that was not "
    "slower than {0} while it was chosen, or the fastest where all were slower."
)
_SIZES = (
    "Bytes/doc: the code or vector of a document alone. Index file: all that is written. Resident: how much the memory "
    "of a fresh process grew while the index was opened and searched; on a small collection that is mostly what does "
    "not depend on the documents. Docids are in none of them."
)
_SPEED = (
    "One thread, one query at a time, {0} time, of the search alone; the query encoder stands beside it. For a run "
    "that was reranked it is the reranker's time, as the search noted it."
)


def make(request: Request) -> None:
    """Write the report of a request that was checked.

    What was measured stays in a folder beside the report until it is done, so that an interrupted report goes on with
    the next row.

    Raises
    ------
    JPQError
        If topics, qrels or runs cannot be used, or a row of an index cannot be measured.
    """
    topics, qrels = read_topics(request.topics), read_qrels(request.qrels)
    folder = partial_folder(request.folder)
    facts = {"machine": repeating.machine(), "versions": repeating.versions()}
    facts["inputs"] = repeating.inputs(request, qrels)
    _go_on_or_start(folder, _identity(request, facts))
    measuring = Measuring(request, topics, qrels, folder)
    rows = measuring.rows()
    compare_with(rows[0], rows)
    blocks = _page(request, measuring, rows, qrels, facts)
    write_text_atomically(folder / "report.md", as_markdown(blocks))
    write_text_atomically(folder / "report.html", as_html(blocks))
    write_json_atomically(folder / RESULTS, _results(request, rows, list(qrels), facts))
    remove(measuring.work)
    (folder / _ASKED).unlink()
    move_into_place(folder, request.folder)
    cli.say(f"{len(rows)} rows: {request.folder / 'report.md'}")


def _identity(request: Request, facts: dict[str, Any]) -> dict[str, Any]:
    """Return what decides how all rows come out, whatever the indexes: with anything else, all are measured again."""
    settings = {"metrics": list(request.metrics), "hits": request.hits, "clock": request.clock, "seed": request.seed}
    settings["device"] = request.device
    apart = ("sha256", "index_sha256", "encoders_of_indexes")
    inputs = {name: value for name, value in facts["inputs"].items() if name not in apart}
    files = facts["inputs"]["sha256"]
    hashes = {name: files.get(name) for name in ("topics", "qrels", "train topics", "train qrels")}
    return {**settings, **inputs, **hashes, "versions": facts["versions"]}


def _go_on_or_start(folder: Path, identity: dict[str, Any]) -> None:
    asked = folder / _ASKED
    if asked.is_file() and read(asked) == identity:
        cli.say(f"going on with what was measured before ({folder})")
        return
    remove(folder)
    folder.mkdir(parents=True)
    write_json_atomically(asked, identity)


def _page(request: Request, measuring: Measuring, rows: list[Row], qrels: Qrels, facts: dict[str, Any]) -> list[Block]:
    reference, metric, metrics = rows[0], next(iter(rows[0].metrics)), list(rows[0].metrics)
    documents = facts["inputs"]["documents"]
    folder = measuring.folder
    queries = f"{len(qrels)} queries over {documents:,} documents of {facts['inputs']['dimension']} dimensions"
    if without := len(qrels) - len(measuring.topics):
        queries += f"; {without} of the queries have no text in the topics, find nothing, and count 0"
    return [
        Text("title", f"Report: {reference.title}"),
        Text("paragraph", f"{queries}; {request.hits} hits of each. {_TEST.format(reference.title)}"),
        Text("section", "Effectiveness and size"),
        tables.effectiveness(rows, metrics, documents),
        Text("paragraph", _SIZES),
        Text("section", "Speed"),
        tables.speed(rows, metric, request.clock),
        Text("paragraph", _SPEED.format(request.clock)),
        Text("section", "Figures"),
        *charts.draw_all(rows, metrics, request.clock, folder),
        *_neighbours(request, measuring, rows, qrels, folder),
        Text("section", "Significance"),
        tables.tests(rows, metrics),
        Text("section", "Wins and losses"),
        wins.counts(reference, rows, metric, list(qrels)),
        *_largest(request, measuring, rows, qrels, metric),
        *_repeat(request, facts),
    ]


def _largest(request: Request, measuring: Measuring, rows: list[Row], qrels: Qrels, metric: str) -> list[Block]:
    """Return the largest wins and losses against flat and against the best baseline of at most the same bytes."""
    reference, flat = rows[0], flat_row(rows)
    small = [row for row in rows if row.measured and row.group == "compressed" and row.code_bytes is not None]
    small = [row for row in small if (row.code_bytes or 0) <= (reference.code_bytes or 0)]
    others = [*([flat] if flat else []), *sorted(small, key=lambda row: -row.metrics[metric])[:1]]
    docids = wins.shown_docids(reference, others, metric, list(qrels))
    texts = wins.texts_of(request.corpus, docids)
    return [block for o in others for block in wins.largest(reference, o, metric, measuring.topics, qrels, texts)]


def _neighbours(request: Request, measuring: Measuring, rows: list[Row], qrels: Qrels, folder: Path) -> list[Any]:
    """Draw the query whose positives are nearest to twenty in number."""
    from pyserini_jpq.encode.embeddings import Embeddings

    def distance(qid: str) -> int:
        return abs(20 - sum(grade > 0 for grade in qrels[qid].values()))

    qids = list(measuring.topics)
    qid = min(qids, key=distance)
    hits = {}
    if request.bm25 is not None:
        hits["negatives of BM25"] = ranked(read_run(request.bm25).get(qid, {}))
    for kind, name in (("uncompressed", FLAT), ("compressed", rows[0].name)):
        file = folder / RUNS / f"run.{name}.txt"
        if file.is_file():
            hits[f"negatives of the {kind} index"] = ranked(read_run(str(file)).get(qid, {}))
    embeddings = Embeddings(request.embeddings)
    kinds = neighbours.samples(qid, qrels, hits, measuring.docids, request.seed)
    vectors, _ = measuring.queries(request.indexes[0])
    query = np.load(vectors)[qids.index(qid)]
    title, path = measuring.topics[qid], folder / "neighbours.png"
    return neighbours.draw(query, kinds, embeddings, measuring.docids, title, path, request.seed)


def _repeat(request: Request, facts: dict[str, Any]) -> list[Block]:
    machine, versions, inputs = facts["machine"], facts["versions"], facts["inputs"]
    lines = [f"seed {request.seed}", *(f"{name} {value}" for name, value in machine.items())]
    lines += [f"{name} {value}" for name, value in versions.items()]
    lines += [f"sha256 of {name}: {value}" for name, value in inputs["sha256"].items()]
    lines += [f"sha256 of the index {name}: {value}" for name, value in inputs["index_sha256"].items()]
    lines += [f"sha256 of the weights of its encoder {n}: {v}" for n, v in inputs["encoders_of_indexes"].items()]
    lines += [f"sha256 of the collection: {inputs['collection_sha256']}"]
    return [Text("section", "To repeat it"), Text("code", request.command), Text("code", "\n".join(lines))]


def _results(request: Request, rows: list[Row], qids: list[str], facts: dict[str, Any]) -> dict[str, Any]:
    asked = {"command": request.command, "hits": request.hits, "clock": request.clock, "seed": request.seed}
    return {**asked, "reference": rows[0].name, **facts, "qids": qids, "rows": [row.as_dict() for row in rows]}


def command_line(words: list[str]) -> str:
    """Return a command as it is typed into a shell."""
    return shlex.join(["python", "-m", "pyserini_jpq.evaluate", *words])
