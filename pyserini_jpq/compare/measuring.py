"""Measures the rows of a report, one after the other; a row that is there already is not measured again."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq import cli
from pyserini_jpq.compare.baselines.base import Engine
from pyserini_jpq.compare.baselines.registry import ENGINES, UNMAINTAINED
from pyserini_jpq.compare.baselines.supervision import Supervision, relevant_pairs
from pyserini_jpq.compare.encoders import encoder_key
from pyserini_jpq.compare.families import NOT_TRAINED, family
from pyserini_jpq.compare.fusing import fused
from pyserini_jpq.compare.request import FLAT, Request
from pyserini_jpq.compare.rows import Row
from pyserini_jpq.compare.scoring import means, run_of, score, write_run
from pyserini_jpq.compare.steps import read, run_step
from pyserini_jpq.compare.timing import CLOCKS
from pyserini_jpq.compare.worker import OURS
from pyserini_jpq.data.qrels import read_qrels
from pyserini_jpq.data.runs import read_run
from pyserini_jpq.data.topics import read_topics
from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.errors import JPQError
from pyserini_jpq.evaluate.metrics import Metrics, Qrels
from pyserini_jpq.files import remove, write_json_atomically
from pyserini_jpq.index.folder import INDEX, IndexFolder, Manifest

RUNS = "runs"
_WORK = "work"


class Measuring:
    """Measures the rows of one request in the folder that becomes the report.

    Parameters
    ----------
    request
        What is asked for.
    topics
        Queries by qid.
    qrels
        Grades by qid and docid.
    folder
        Where rows, runs and what is worked on are kept.

    Attributes
    ----------
    docids
        Of all documents, in row order.
    """

    def __init__(self, request: Request, topics: dict[str, str], qrels: Qrels, folder: Path) -> None:
        self.request = request
        self.qrels = qrels
        self.metrics = Metrics(request.metrics)
        self.topics = {qid: text for qid, text in topics.items() if qid in qrels}
        if not self.topics:
            raise JPQError("no query of the topics is in the qrels; check that both are of the same collection")
        self.folder = folder
        self.work = folder / _WORK
        self.work.mkdir(parents=True, exist_ok=True)
        self.docids = list(Embeddings(request.embeddings).docids())
        self._training = None
        if request.train_topics is not None and request.train_qrels is not None:
            taught = read_topics(request.train_topics), read_qrels(request.train_qrels)
            self._training = relevant_pairs(*taught, self.docids)

    def rows(self) -> list[Row]:
        """Measure all rows: indexes, baselines, fusions, runs."""
        steps: list[tuple[str, Callable[[str], Row]]] = []
        for index in self.request.indexes:
            steps.append((index.name, partial(self._index, path=index)))
        steps += [(name, self._baseline) for name in self.request.baselines]
        if self.request.device is not None:
            places = {
                self.request.indexes[0].name: self.request.indexes[0],
                ENGINES[FLAT].title: self.request.embeddings,
            }
            for title, folder in places.items():
                steps.append((f"{title}, {self.request.device}", partial(self._on_device, folder=folder)))
        found = [self._cached(i, len(steps), name, make) for i, (name, make) in enumerate(steps, 1)]
        if self.request.bm25 is not None:
            run = self.folder / RUNS / f"run.{self.request.indexes[0].name}.txt"
            for title, fusion in fused(run, Path(self.request.bm25), self.work, self.request.hits):
                found.append(self._run(title, fusion, "hybrid with BM25, fused by Pyserini"))
        for name, path in self.request.runs.items():
            found.append(self._run(name, path, ""))
        return found

    def _cached(self, number: int, total: int, name: str, make: Callable[[str], Row]) -> Row:
        file, basis = self.work / "rows" / f"{name}.json", self._basis(name)
        before = read(file) if file.is_file() else {}
        if before.get("basis") == basis:
            cli.say(f"[{number}/{total}] {name}: measured before")
            return Row(**before["row"])
        row = make(name)
        write_json_atomically(file, {"basis": basis, "row": row.as_dict()})
        first = next(iter(row.metrics), None)
        median = row.median(self.request.clock)
        told = row.note if first is None else f"{first} {row.metrics[first]:.4f}, {median:.3f} ms"
        cli.say(f"[{number}/{total}] {name}: {told}")
        return row

    def _basis(self, name: str) -> dict[str, Any]:
        """Return what of the indexes decides how a row comes out: of baselines, the reference's bytes and its speed."""
        indexes = {path.name: path for path in self.request.indexes}
        reference = IndexFolder(self.request.indexes[0]).manifest
        if name in indexes:
            return _hashes(IndexFolder(indexes[name]).manifest)
        is_tuned = name not in ENGINES or bool(ENGINES[name].efforts)
        return {"bytes": reference.bytes_per_document, **(_hashes(reference) if is_tuned else {})}

    def _index(self, name: str, path: Path) -> Row:
        index = IndexFolder(path)
        row = Row(name, name, "index", family=family(index.manifest))
        row.note = "not trained" if row.family == NOT_TRAINED else ""
        row.code_bytes = index.manifest.bytes_per_document
        # What a search reads; the initial centroids are there for documents to come.
        row.disk_bytes = sum(file.stat().st_size for file in (path / INDEX, index.blocks) if file)
        run = self._search(row, OURS, path, path, index.docids(), target=None)
        write_run(self.folder / RUNS / f"run.{name}.txt", run, name)
        return row

    def _on_device(self, name: str, folder: Path) -> Row:
        row = Row(name, name, "device", "by torch, all documents")
        self._search(row, OURS, folder, folder, self.docids, target=None, device=self.request.device)
        return row

    def _baseline(self, name: str) -> Row:
        if name in UNMAINTAINED:
            title, reason = UNMAINTAINED[name]
            return Row(name, title, "non-exhaustive", reason)
        engine = ENGINES[name]
        row = Row(name, engine.title, engine.kind, engine.note)
        if problem := engine.missing():
            row.note = problem
            return row
        if engine.supervised and self._training is None:
            row.note = "learns from queries: give --train-topics and --train-qrels"
            return row
        try:
            self._build_and_search(row, engine)
        except JPQError as problem:
            return Row(name, engine.title, engine.kind, f"failed: {problem}")
        return row

    def _build_and_search(self, row: Row, engine: Engine) -> None:
        reference = IndexFolder(self.request.indexes[0]).manifest
        built, facts = self.work / "index", self.work / "build.json"
        remove(built)
        built.mkdir()
        task = {"stage": "build", "engine": row.name, "embeddings": str(self.request.embeddings), "output": str(built)}
        task |= {"cache": str(self.work), "facts": str(facts)}
        sizes = {"bytes": reference.bytes_per_document, "seed": self.request.seed}
        if engine.supervised:
            task["supervision"] = str(self._supervision())
        run_step({**task, **sizes}, self.work / f"{row.name}.build.json")
        row.build_seconds = read(facts)["build_seconds"]
        row.code_bytes = engine.code_bytes(reference.dimension, reference.bytes_per_document)
        row.disk_bytes = sum(file.stat().st_size for file in built.rglob("*") if file.is_file())
        target = self._target() if engine.efforts else None
        run = self._search(row, row.name, built, self.request.embeddings, self.docids, target)
        if row.name == FLAT:
            write_run(self.folder / RUNS / f"run.{FLAT}.txt", run, FLAT)
        remove(built)

    def _supervision(self) -> Path:
        """Return the file of what supervised engines learn from, which is made once."""
        file = self.work / "supervision.npz"
        if self._training is not None and not file.is_file():
            texts, pairs = self._training
            place = self.work / "training-queries"
            self._encode(self.request.embeddings, texts, place)
            Supervision(np.load(place / "queries.npy"), pairs).save(file)
        return file

    def _target(self) -> float:
        """Return the reference's median latency, which engines with an effort are tuned to."""
        row = read(self.work / "rows" / f"{self.request.indexes[0].name}.json")["row"]
        return float(row["latency"][self.request.clock]["median_ms"])

    def _search(
        self,
        row: Row,
        engine: str,
        folder: Path,
        encoder: Path,
        docids: list[str],
        target: float | None,
        device: str | None = None,
    ) -> dict[str, dict[str, float]]:
        """Search with an engine, fill its row, and return its hits."""
        queries, row.encode = self.queries(encoder)
        output = self.work / "found"
        remove(output)
        output.mkdir()
        task: dict[str, Any] = {"stage": "search", "engine": engine, "folder": str(folder), "queries": str(queries)}
        task |= {"hits": self.request.hits, "documents": len(docids), "clock": self.request.clock}
        run_step(
            {**task, "target_ms": target, "device": device, "output": str(output)},
            self.work / f"{row.name}.search.json",
        )
        facts = read(output / "search.json")
        row.resident_bytes, row.effort, row.latency = facts["resident_bytes"], facts["effort"], facts["latency"]
        qids = list(self.topics)
        for tried in facts["efforts"]:
            hits = run_of(output / tried.pop("hits"), qids, docids)
            row.efforts.append({**tried, "metrics": means(hits, self.qrels, self.metrics)})
        run = run_of(output / "hits.npz", qids, docids)
        score(row, run, self.qrels, self.metrics)
        remove(output)
        return run

    def queries(self, folder: Path) -> tuple[Path, dict[str, dict[str, float]]]:
        """Return the file of query vectors of a folder's query encoder, [Q, D] float32, and its latency."""
        place = self.work / "queries" / encoder_key(folder)
        self._encode(folder, list(self.topics.values()), place)
        return place / "queries.npy", read(place / "encoded.json")

    def _encode(self, folder: Path, texts: list[str], place: Path) -> None:
        """Encode texts with a folder's query encoder into a place, unless they are there."""
        if not (place / "encoded.json").is_file():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            task = {"stage": "encode", "folder": str(folder), "texts": texts, "output": str(place)}
            run_step(task, self.work / "encode.json")

    def _run(self, name: str, path: Path | str, note: str) -> Row:
        """Return the row of a run file; a latency that our search noted beside it is taken over."""
        row = Row(name, name, "run", note)
        score(row, read_run(str(path)), self.qrels, self.metrics)
        beside = Path(f"{path}.json")
        facts = read(beside) if beside.is_file() else {}
        row.code_bytes = facts.get("bytes_per_document")
        if "rerank" in facts:
            rerank = facts["rerank"]
            row.note = f"{rerank['model']} on the best {rerank['hits']}"
            # By another process, whose clock was the wall's.
            row.latency = {clock: rerank["latency"]["wall"] for clock in CLOCKS}
        return row


def _hashes(manifest: Manifest) -> dict[str, Any]:
    return {"index": manifest.files[INDEX]["sha256"], "encoder": manifest.query_encoder["sha256"]}


def flat_row(rows: list[Row]) -> Row | None:
    """Return the uncompressed row."""
    return next((row for row in rows if row.name == FLAT and row.measured), None)
