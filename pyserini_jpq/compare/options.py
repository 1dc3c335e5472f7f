"""Inputs and options of a comparison, and their check before anything is computed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pyserini_jpq import cli
from pyserini_jpq.data.ir_datasets import is_ir_datasets
from pyserini_jpq.errors import JPQError
from pyserini_jpq.evaluate.metrics import DEFAULT_METRICS, parse_metrics, unknown_metrics
from pyserini_jpq.files import refuse_existing
from pyserini_jpq.options import Options, option

RESULTS = "results.json"


@dataclass(frozen=True)
class Inputs:
    """What is compared.

    Attributes
    ----------
    embeddings
        Folder of embeddings, [N, D] float32.
    topics, qrels
        Files or names.
    indexes
        Index folders; the first is the reference, whose bytes and speed the baselines get.
    runs
        Run files by name, which become rows.
    """

    embeddings: Path
    topics: str
    qrels: str
    indexes: tuple[Path, ...]
    runs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CompareOptions(Options):
    """How systems are compared.

    Attributes
    ----------
    metrics
        As in `Metrics`.
    """

    baselines: str = option("all", "all, none, or names with commas between", metavar="NAMES")
    train_topics: str | None = option(None, "queries that supervised baselines learn from")
    train_qrels: str | None = option(None, "which documents are relevant to them")
    bm25: str | None = option(None, "run to fuse with the first index's", metavar="FILE")
    corpus: Path | None = option(None, "collection with the texts of documents", Path)
    hits: int = option(100, "of each query", cli.positive_int)
    faiss_device: str | None = option(None, "search the first index and flat there, too, as cuda:0")
    clock: str = option("wall", "cpu: without other processes' share", choices=("wall", "cpu"))
    rescore: int = option(
        100,
        "hits of each query that are scored again, in a row more for each index that keeps vectors",
        cli.positive_int,
    )
    seed: int = option(42, "of baselines", cli.seed)
    metrics: tuple[str, ...] = DEFAULT_METRICS


def check(inputs: Inputs, options: CompareOptions, output: Path, overwrite: bool) -> None:
    """Raise JPQError for the first input or option that cannot be used."""
    from pyserini_jpq.compare.baselines.registry import named_baselines
    from pyserini_jpq.compare.encoders import query_encoder
    from pyserini_jpq.encode.embeddings import Embeddings
    from pyserini_jpq.index.opening import open_folder

    refuse_existing(output, overwrite, RESULTS)
    measures, unknown = parse_metrics(options.metrics)
    if unknown:
        raise JPQError(unknown_metrics(unknown))
    deepest = max((measure.params.get("cutoff", 0) for measure in measures.values()), default=0)
    if deepest > options.hits:
        raise JPQError(f"--metrics look at {deepest} hits, but --hits is {options.hits}")
    embeddings = Embeddings(inputs.embeddings)
    query_encoder(inputs.embeddings)
    for path in inputs.indexes:
        manifest = open_folder(path).manifest
        if (manifest.documents, manifest.dimension) != (embeddings.documents, embeddings.dimension):
            raise JPQError(
                f"{path} has {manifest.documents} documents of {manifest.dimension} dimensions, {inputs.embeddings} "
                f"has {embeddings.documents} of {embeddings.dimension}; give the embeddings of the same collection"
            )
        query_encoder(path)
    names = [*(path.name for path in inputs.indexes), *named_baselines(options.baselines), *inputs.runs]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise JPQError(f"several rows would be named {', '.join(sorted(repeated))}; name runs with --run NAME=FILE")
    for file in filter(None, [*inputs.runs.values(), options.bm25]):
        if not Path(file).is_file():
            raise JPQError(f"no such run file: {file}")
    if options.faiss_device is not None:
        from pyserini_jpq.encode.precision import resolve_device

        resolve_device(options.faiss_device)
    if (options.train_topics is None) != (options.train_qrels is None):
        raise JPQError("--train-topics and --train-qrels go together")
    if options.corpus is not None and not options.corpus.exists() and not is_ir_datasets(options.corpus):
        raise JPQError(f"--corpus {options.corpus} does not exist")
