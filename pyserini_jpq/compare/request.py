"""What a report is asked for, checked before anything is computed."""

from dataclasses import dataclass
from pathlib import Path

from pyserini_jpq.compare.baselines.registry import ENGINES, UNMAINTAINED
from pyserini_jpq.compare.encoders import query_encoder
from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.errors import JPQError
from pyserini_jpq.evaluate.metrics import parse_metrics, unknown_metrics
from pyserini_jpq.files import refuse_existing

RESULTS = "results.json"
FLAT = "flat"


@dataclass(frozen=True)
class Request:
    """The arguments of a report.

    Attributes
    ----------
    folder
        The report to write.
    embeddings
        Folder of embeddings, [N, D] float32.
    topics, qrels
        Files or names.
    indexes
        Index folders; the first is the reference: its bytes and its speed are what baselines get.
    baselines
        Names of engines; `flat` is always there.
    train_topics, train_qrels
        Files or names of what supervised baselines learn from; both or none.
    runs
        Run files by name.
    bm25
        A run file of BM25 to fuse with the reference, or None.
    corpus
        Collection that holds the texts of documents, or None.
    metrics
        As in `Metrics`.
    hits
        Of each query.
    device
        Of torch's, where the first index and the uncompressed vectors are searched, too; or None.
    clock
        `wall` or `cpu`.
    seed
        Of all that is random.
    command
        As it was typed.
    """

    folder: Path
    embeddings: Path
    topics: str
    qrels: str
    indexes: tuple[Path, ...]
    baselines: tuple[str, ...]
    train_topics: str | None
    train_qrels: str | None
    runs: dict[str, str]
    bm25: str | None
    corpus: Path | None
    metrics: tuple[str, ...]
    hits: int
    device: str | None
    clock: str
    seed: int
    command: str


def named_baselines(text: str) -> tuple[str, ...]:
    """Return the engines that `all`, `none` or `name,name` stands for, the uncompressed one first.

    Raises
    ------
    JPQError
        If one is unknown.
    """
    every = [*ENGINES, *UNMAINTAINED]
    names = {"all": every, "none": []}.get(text, [name.strip() for name in text.split(",")])
    unknown = [name for name in names if name not in every]
    if unknown:
        raise JPQError(f"no baseline is named {', '.join(unknown)}; there are {', '.join(every)}, all and none")
    return tuple(dict.fromkeys([FLAT, *names]))


def check(request: Request, overwrite: bool) -> None:
    """Raise JPQError for the first thing that is wrong with a request."""
    from pyserini_jpq.index.folder import IndexFolder

    refuse_existing(request.folder, overwrite, RESULTS)
    measures, unknown = parse_metrics(request.metrics)
    if unknown:
        raise JPQError(unknown_metrics(unknown))
    deepest = max((measure.params.get("cutoff", 0) for measure in measures.values()), default=0)
    if deepest > request.hits:
        raise JPQError(f"--metrics look at {deepest} hits, but --hits is {request.hits}")
    embeddings = Embeddings(request.embeddings)
    query_encoder(request.embeddings)
    for path in request.indexes:
        manifest = IndexFolder(path).manifest
        if (manifest.documents, manifest.dimension) != (embeddings.documents, embeddings.dimension):
            raise JPQError(
                f"{path} has {manifest.documents} documents of {manifest.dimension} dimensions, {request.embeddings} "
                f"has {embeddings.documents} of {embeddings.dimension}; give the embeddings of the same collection"
            )
        query_encoder(path)
    names = [*(path.name for path in request.indexes), *request.baselines, *request.runs]
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise JPQError(f"several rows would be named {', '.join(sorted(repeated))}; name runs with --run NAME=FILE")
    for file in [*request.runs.values(), *([request.bm25] if request.bm25 else [])]:
        if not Path(file).is_file():
            raise JPQError(f"no such run file: {file}")
    if request.device is not None:
        from pyserini_jpq.encode.precision import resolve_device

        resolve_device(request.device)
    if (request.train_topics is None) != (request.train_qrels is None):
        raise JPQError("--train-topics and --train-qrels go together")
    if request.corpus is not None and not request.corpus.exists():
        raise JPQError(f"--corpus {request.corpus} does not exist")
