"""Measures the rows of a report one after the other; rows that were measured before are kept."""

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq import cli, steps
from pyserini_jpq.compare.baselines.base import Engine, Supervision, relevant_pairs
from pyserini_jpq.compare.baselines.registry import ENGINES, UNMAINTAINED, named_baselines
from pyserini_jpq.compare.encoders import encoder_key
from pyserini_jpq.compare.families import NOT_TRAINED, family
from pyserini_jpq.compare.options import CompareOptions, Inputs
from pyserini_jpq.compare.rows import FLAT, Row
from pyserini_jpq.compare.scoring import means, run_of, score, write_run
from pyserini_jpq.compare.timer import TIMERS
from pyserini_jpq.compare.worker import OURS
from pyserini_jpq.compat import pyserini
from pyserini_jpq.data.qrels import read_qrels
from pyserini_jpq.data.runs import read_run
from pyserini_jpq.data.topics import read_topics
from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.errors import JPQError
from pyserini_jpq.evaluate.metrics import Metrics, Qrels
from pyserini_jpq.files import remove, write_json_atomically
from pyserini_jpq.index.manifest import INDEX, VECTORS, Manifest
from pyserini_jpq.index.opening import open_folder
from pyserini_jpq.index.vectors import vectors_of

RUNS = "runs"
_WORK = "work"
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

_ALPHA = 0.5  # weight of the reference in the interpolation of scores that are mapped to [0, 1] for each query
_RRF_K = 60  # constant of reciprocal rank fusion (Cormack et al., SIGIR 2009), Pyserini's default
_FUSIONS = {"interpolation": f"+ BM25, interpolated {_ALPHA}", "rrf": "+ BM25, reciprocal rank"}


class Measuring:
    """Measures the rows of one comparison in the folder that becomes the report.

    Parameters
    ----------
    inputs, options
        What is compared and how, checked.
    topics
        Queries by qid.
    qrels
        Grades by qid and docid.
    folder
        Where rows, runs and intermediate files are kept.

    Attributes
    ----------
    docids
        Docids of all documents, in row order.
    """

    def __init__(
        self, inputs: Inputs, options: CompareOptions, topics: dict[str, str], qrels: Qrels, folder: Path
    ) -> None:
        self.inputs, self.options = inputs, options
        self.qrels = qrels
        self.metrics = Metrics(options.metrics)
        self.topics = {qid: text for qid, text in topics.items() if qid in qrels}
        if not self.topics:
            raise JPQError("no query of the topics is in the qrels; check that both are of the same collection")
        self.folder = folder
        self.work = folder / _WORK
        self.work.mkdir(parents=True, exist_ok=True)
        self.docids = list(Embeddings(inputs.embeddings).docids())
        self._rescored = {
            f"{index.name}, {options.rescore} rescored": index
            for index in inputs.indexes
            if vectors_of(open_folder(index)) is not None
        }
        self._training = None
        if options.train_topics is not None and options.train_qrels is not None:
            taught = read_topics(options.train_topics), read_qrels(options.train_qrels)
            self._training = relevant_pairs(*taught, self.docids)

    def rows(self) -> list[Row]:
        """Measure all rows: indexes, baselines, fusions, runs."""
        first, device = self.inputs.indexes[0], self.options.faiss_device
        makers: list[tuple[str, Callable[[str], Row]]] = []
        makers += [(index.name, partial(self._index, path=index)) for index in self.inputs.indexes]
        makers += [(name, partial(self._index, path=index, rescore=True)) for name, index in self._rescored.items()]
        makers += [(name, self._baseline) for name in named_baselines(self.options.baselines)]
        if device is not None:
            places = {first.name: first, ENGINES[FLAT].title: self.inputs.embeddings}
            makers += [(f"{name}, {device}", partial(self._on_device, folder=place)) for name, place in places.items()]
        found = [self._cached(f"[{i}/{len(makers)}]", name, make) for i, (name, make) in enumerate(makers, 1)]
        if self.options.bm25 is not None:
            run = self.folder / RUNS / f"run.{first.name}.txt"
            for method, title in _FUSIONS.items():
                file = self.work / f"run.{method}.txt"
                both = [read_run(str(run)), read_run(str(self.options.bm25))]
                write_run(file, pyserini.fuse(both, method, self.options.hits, alpha=_ALPHA, rrf_k=_RRF_K), method)
                found.append(self._run(f"{first.name} {title}", file, "hybrid with BM25, fused by Pyserini"))
        return [*found, *(self._run(name, path, "") for name, path in self.inputs.runs.items())]

    def _cached(self, number: str, name: str, make: Callable[[str], Row]) -> Row:
        file, basis = self.work / "rows" / f"{name}.json", self._basis(name)
        before = _read(file) if file.is_file() else {}
        if before.get("basis") == basis:
            cli.say(f"{number} {name}: measured before")
            return Row.from_dict(before["row"])
        row = make(name)
        write_json_atomically(file, {"basis": basis, "row": row.as_dict()})
        first, median = next(iter(row.metrics), None), row.median(self.options.clock)
        told = row.note if first is None else f"{first} {row.metrics[first]:.4f}, {median:.3f} ms"
        cli.say(f"{number} {name}: {told}")
        return row

    def _basis(self, name: str) -> dict[str, Any]:
        """Return the facts of the indexes that a row depends on: for baselines, the reference's bytes and speed."""
        indexes = {path.name: path for path in self.inputs.indexes}
        reference = open_folder(self.inputs.indexes[0]).manifest
        if name in indexes:
            return _hashes(open_folder(indexes[name]).manifest)
        if name in self._rescored:
            manifest = open_folder(self._rescored[name]).manifest
            return {**_hashes(manifest), VECTORS: manifest.files[VECTORS]["sha256"]}
        is_tuned = name not in ENGINES or bool(ENGINES[name].parameters)
        return {"bytes": reference.bytes_per_document, **(_hashes(reference) if is_tuned else {})}

    def _index(self, name: str, path: Path, rescore: bool = False) -> Row:
        index = open_folder(path)
        row = Row(name, name, "index", family=family(index.manifest))
        row.note = "not trained" if row.family == NOT_TRAINED else ""
        row.code_bytes = index.manifest.bytes_per_document
        # The files that a search reads; initial centroids serve documents that are added later.
        row.disk_bytes = sum(
            file.stat().st_size for part in index.parts for file in (part.path / INDEX, part.blocks) if file
        )
        if rescore:
            size = index.manifest.files[VECTORS]["bytes"]
            kept = size // index.manifest.documents
            row.disk_bytes += size
            row.code_bytes += kept
            row.family, row.note = "", f"{kept} of the bytes stay on disk"
        run = self._search(
            row, OURS, path, path, index.docids(), None, rescore=self.options.rescore if rescore else None
        )
        write_run(self.folder / RUNS / f"run.{name}.txt", run, name)
        return row

    def _on_device(self, name: str, folder: Path) -> Row:
        row = Row(name, name, "device", "by torch, all documents")
        self._search(row, OURS, folder, folder, self.docids, target=None, device=self.options.faiss_device)
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
        reference = open_folder(self.inputs.indexes[0]).manifest
        built, facts = self.work / "index", self.work / "build.json"
        remove(built)
        built.mkdir()
        task = {"stage": "build", "engine": row.name, "embeddings": str(self.inputs.embeddings), "output": str(built)}
        task |= {"cache": str(self.work), "facts": str(facts)}
        sizes = {"bytes": reference.bytes_per_document, "seed": self.options.seed}
        if engine.supervised:
            task["supervision"] = str(self._supervision())
        run_step({**task, **sizes}, self.work / f"{row.name}.build.json")
        row.build_seconds = _read(facts)["build_seconds"]
        row.code_bytes = engine.code_bytes(reference.dimension, reference.bytes_per_document)
        row.disk_bytes = sum(file.stat().st_size for file in built.rglob("*") if file.is_file())
        target = self._target() if engine.parameters else None
        run = self._search(row, row.name, built, self.inputs.embeddings, self.docids, target)
        if row.name == FLAT:
            write_run(self.folder / RUNS / f"run.{FLAT}.txt", run, FLAT)
        remove(built)

    def _supervision(self) -> Path:
        """Return the file of training data for supervised engines, made on the first call."""
        file = self.work / "supervision.npz"
        if self._training is not None and not file.is_file():
            texts, pairs = self._training
            place = self.work / "training-queries"
            self._encode(self.inputs.embeddings, texts, place)
            Supervision(np.load(place / "queries.npy"), pairs).save(file)
        return file

    def _target(self) -> float:
        """Return the reference's median latency, which engines with a search parameter are tuned to."""
        row = _read(self.work / "rows" / f"{self.inputs.indexes[0].name}.json")["row"]
        return float(row["latency"][self.options.clock]["median_ms"])

    def _search(
        self,
        row: Row,
        engine: str,
        folder: Path,
        encoder: Path,
        docids: list[str],
        target: float | None,
        device: str | None = None,
        rescore: int | None = None,
    ) -> dict[str, dict[str, float]]:
        """Search with an engine, fill its row, and return its hits."""
        queries, row.encode = self.queries(encoder)
        output = self.work / "found"
        remove(output)
        output.mkdir()
        task: dict[str, Any] = {"stage": "search", "engine": engine, "folder": str(folder), "queries": str(queries)}
        task |= {"hits": self.options.hits, "documents": len(docids), "timer": self.options.clock}
        run_step(
            {**task, "target_ms": target, "device": device, "rescore": rescore, "output": str(output)},
            self.work / f"{row.name}.search.json",
        )
        facts = _read(output / "search.json")
        row.resident_bytes, row.parameter, row.latency = (facts[n] for n in ("resident_bytes", "parameter", "latency"))
        qids = list(self.topics)
        for tried in facts["tried"]:
            hits = run_of(output / tried.pop("hits"), qids, docids)
            row.tried.append({**tried, "metrics": means(hits, self.qrels, self.metrics)})
        run = run_of(output / "hits.npz", qids, docids)
        score(row, run, self.qrels, self.metrics)
        remove(output)
        return run

    def queries(self, folder: Path) -> tuple[Path, dict[str, dict[str, float]]]:
        """Return the file of query vectors of a folder's query encoder, [Q, D] float32, and its latency."""
        place = self.work / "queries" / encoder_key(folder)
        self._encode(folder, list(self.topics.values()), place)
        return place / "queries.npy", _read(place / "encoded.json")

    def _encode(self, folder: Path, texts: list[str], place: Path) -> None:
        """Write the vectors of texts by a folder's query encoder to `place`, unless they are there."""
        if not (place / "encoded.json").is_file():
            remove(place)
            place.mkdir(parents=True)
            task = {"stage": "encode", "folder": str(folder), "texts": texts, "output": str(place)}
            run_step(task, self.work / "encode.json")

    def _run(self, name: str, path: Path | str, note: str) -> Row:
        """Return the row of a run file, with the latency of a reranker that search noted beside it."""
        row = Row(name, name, "run", note)
        score(row, read_run(str(path)), self.qrels, self.metrics)
        beside = Path(f"{path}.json")
        facts = _read(beside) if beside.is_file() else {}
        row.code_bytes = facts.get("bytes_per_document")
        if "rerank" in facts:
            rerank = facts["rerank"]
            row.note = f"{rerank['model']} on the best {rerank['hits']}"
            # Another process measured it, by wall time only.
            row.latency = dict.fromkeys(TIMERS, rerank["latency"]["wall"])
        return row


def _hashes(manifest: Manifest) -> dict[str, Any]:
    return {"index": manifest.files[INDEX]["sha256"], "encoder": manifest.query_encoder["sha256"]}


def run_step(task: dict[str, Any], file: Path) -> None:
    """Run one task of `worker` in a process of its own, with one thread.

    Parameters
    ----------
    task
        The task, as `worker` reads it.
    file
        The file for the task; the messages of the process go to a `.log` beside it.

    Raises
    ------
    JPQError
        If the process fails, with its last message.
    """
    write_json_atomically(file, task)
    log = file.with_suffix(".log")
    with open(log, "wb") as messages:
        status = steps.run([sys.executable, "-m", "pyserini_jpq.compare.worker", str(file)], _ONE_THREAD, messages)
    if status == 0:
        return
    if status == cli.EXIT_INTERRUPTED or -status in (2, 15):
        raise KeyboardInterrupt
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    reason = (lines[-1] if lines else "no message").removeprefix("error: ")
    raise JPQError(f"{reason} (exit status {status})" if status != 2 else reason)


def _read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))
