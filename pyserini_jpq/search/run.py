"""Search topics and write a run file: `python -m pyserini_jpq.search` as a function."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pyserini_jpq import cli
from pyserini_jpq.bars import Progress
from pyserini_jpq.cluster import Cluster
from pyserini_jpq.compat import pyserini
from pyserini_jpq.data.run_writer import RunWriter, in_trec_order
from pyserini_jpq.data.topics import read_topics
from pyserini_jpq.encode.source import EncoderSource
from pyserini_jpq.errors import JPQError, TopicsError
from pyserini_jpq.files import beside, exclusive, refuse_existing_file, write_json_atomically
from pyserini_jpq.prebuilt import obtain_index
from pyserini_jpq.search.naming import default_run
from pyserini_jpq.search.open import is_flat
from pyserini_jpq.search.options import SearchOptions

_DEFAULTS = SearchOptions()


def search(
    index: str | Path,
    topics: Mapping[str, str] | str | Path,
    output: str | Path | None = None,
    *,
    options: SearchOptions = _DEFAULTS,
    overwrite: bool = False,
    cluster: Cluster | None = None,
) -> Path:
    """Search topics in an index and write a run file atomically.

    `NAME.json` beside it records the index, the encoder and the bytes per document.

    Parameters
    ----------
    index
        An index folder, its name, or the card of a published index; or a folder of embeddings.
    topics
        Texts by query id, a TSV or JSONL file, or a name that Pyserini knows.
    output
        The run file; by default `runs/run.COLLECTION.CONDITION.TOPICS.txt`, as on Pyserini's pages.
    options
        All other options.
    overwrite
        Replace an existing run file.
    cluster
        A Ray cluster that searches the shards of the index.

    Returns
    -------
    pathlib.Path
        The run file.

    Raises
    ------
    JPQError
        If an input is missing or wrong, or options exclude each other; its subclass says which.

    Examples
    --------
    >>> import pyserini_jpq as jpq
    >>> run = jpq.search(INDEX, {"q1": TEXTS[3]}, FOLDER / "run.txt", options=jpq.SearchOptions(hits=2))
    >>> [line.split()[3] for line in run.read_text().splitlines()]  # ranks
    ['1', '2']
    """
    called = "topics" if isinstance(topics, Mapping) else str(topics)
    output = Path(output) if output else default_run(Path(index).resolve().name, called)
    refuse_existing_file(output, overwrite)
    texts = _texts(topics, options.topics_format)  # checked before an index is downloaded
    folder = obtain_index(str(index), consent=cli.consent(options.yes))
    name = folder.resolve().name
    reranker = _reranker(options)
    searcher, facts = _flat_searcher(folder, options) if is_flat(folder) else _jpq_searcher(folder, options, cluster)
    with exclusive(output):
        refuse_existing_file(output, overwrite)
        with beside(output) as partial:
            _write(partial, searcher, reranker, texts, options, options.tag or "_".join(name.split()))
            partial.replace(output)
        if reranker is not None:
            facts["rerank"] = {"model": options.rerank, "hits": options.rerank_hits, "latency": reranker.latency()}
        write_json_atomically(output.with_name(f"{output.name}.json"), {"index": str(index), **facts})
    cli.say(f"{len(texts)} topics: {output}")
    return output


def _texts(topics: Mapping[str, str] | str | Path, topics_format: str) -> dict[str, str]:
    """Return checked query texts by query id."""
    if isinstance(topics, str | Path):
        return read_topics(str(topics), topics_format)
    if not topics:
        raise TopicsError("there are no topics; give the text of a query at least")
    for qid, text in topics.items():
        if not isinstance(qid, str) or len(qid.split()) != 1 or qid.strip() != qid:
            raise TopicsError(f"the query id {qid!r} is not one word, as run files and qrels need it")
        if not isinstance(text, str) or not text.strip():
            raise TopicsError(f"the query {qid!r} is {text!r}; give its text")
    return dict(topics)


def _jpq_searcher(folder: Path, options: SearchOptions, cluster: Cluster | None) -> tuple[Any, dict[str, Any]]:
    """Return the searcher of an index, and the facts to record beside the run."""
    from pyserini_jpq.index.encoders import query_encoder_source
    from pyserini_jpq.index.opening import open_folder

    index = open_folder(folder)  # checked before Pyserini is imported, which takes seconds

    from pyserini_jpq.search.searcher import JPQFaissSearcher

    # An explicit option that changes the encoder overrides the check of its hash.
    lenient = options.any_encoder or options.max_length is not None or options.query_prefix is not None
    searcher = JPQFaissSearcher(
        folder,
        _encoder(options, lambda: query_encoder_source(index)),
        normalize_distances=options.normalize_distances,
        faiss_device=options.faiss_device,
        any_encoder=lenient,
        verify=options.verify,
        ivf=options.ivf,
        nprobe=options.nprobe,
        rescore=options.rescore,
        cluster=cluster,
    )
    name = options.encoder or index.manifest.query_encoder["name"]
    facts = {"bytes_per_document": index.manifest.bytes_per_document, "encoder": name}
    return searcher, facts if options.rescore is None else {**facts, "rescore": options.rescore}


def _flat_searcher(folder: Path, options: SearchOptions) -> tuple[Any, dict[str, Any]]:
    """Return the searcher of embeddings, and the facts to record beside the run."""
    from pyserini_jpq.encode.embeddings import Embeddings
    from pyserini_jpq.encode.source import noted_encoder
    from pyserini_jpq.search.searcher import FlatSearcher

    if options.prf_depth or options.normalize_distances or options.faiss_device != "cpu":
        raise JPQError(f"{folder} holds embeddings; feedback, normalized distances and faiss devices need an index")
    if options.ivf or options.nprobe or options.rescore:
        raise JPQError(f"{folder} holds embeddings; --ivf, --nprobe and --rescore need an index")
    embeddings = Embeddings(folder)
    entry = embeddings.encoder
    encoder = _encoder(options, lambda: noted_encoder(entry, str(folder)))
    facts = {"bytes_per_document": 4 * embeddings.dimension, "encoder": options.encoder or entry["name"]}
    return FlatSearcher(folder, encoder), facts


def _encoder(options: SearchOptions, own: Callable[[], EncoderSource]) -> Any:
    """Return the query encoder of the options, else the index's own."""
    from pyserini_jpq.search.encoder import JPQQueryEncoder

    if options.encoded_queries:
        return pyserini.encoded_queries(options.encoded_queries)
    how = (options.device, options.max_length, options.query_prefix, options.encoder_backend)
    return JPQQueryEncoder(options.encoder or own(), *how)


def _reranker(options: SearchOptions) -> Any:
    """Return the reranker of the options, if any."""
    if options.rerank is None:
        return None
    if options.corpus is None:
        raise JPQError("--rerank reads the texts of documents; give their collection with --corpus")
    if options.max_passage:
        raise JPQError("--rerank scores the documents that the index holds; leave --max-passage out")
    from pyserini_jpq.search.rerank import Reranker

    sizes = (options.rerank_hits, options.device, options.rerank_batch_size, options.rerank_max_length)
    return Reranker(options.rerank, options.corpus, *sizes)


def _write(path: Path, searcher: Any, reranker: Any, topics: dict[str, str], options: SearchOptions, tag: str) -> None:
    """Search all topics and write their hits."""
    writer = RunWriter(
        path,
        options.output_format,
        hits=options.hits,
        tag=tag,
        topics={qid: {"input": text} for qid, text in topics.items()},
        max_passage=options.max_passage,
        max_passage_delimiter=options.max_passage_delimiter,
        max_passage_hits=options.max_passage_hits,
    )
    feedback = _feedback(options)
    plain = feedback is None and reranker is None and not (options.remove_query or options.normalize_distances)
    try:
        with writer, Progress(total=len(topics), desc="searching", unit=" topics") as progress:
            for batch in _batches(topics, options.batch_size):
                if plain:
                    _write_ranked(writer, searcher, batch, options)
                else:
                    _write_hits(writer, searcher, reranker, feedback, batch, options)
                progress.update(len(batch))
    except KeyboardInterrupt:
        raise KeyboardInterrupt("no run was written; the same command starts over") from None


def _write_ranked(writer: RunWriter, searcher: Any, batch: dict[str, str], options: SearchOptions) -> None:
    """Write docids and scores as they are found; making an object for each hit takes as long as looking it up."""
    found = searcher.ranked(list(batch.values()), options.hits, options.threads)
    for qid, (docids, scores) in zip(batch, found, strict=True):
        writer.write_ranked(qid, docids, scores)


def _write_hits(
    writer: RunWriter, searcher: Any, reranker: Any, feedback: Any, batch: dict[str, str], options: SearchOptions
) -> None:
    """Write hits after feedback, without the query's own, reranked, and whatever else there is to do with them."""
    for qid, hits in _search_batch(searcher, batch, feedback, options).items():
        kept = [hit for hit in hits if not (options.remove_query and hit.docid == qid)]
        if reranker is not None:
            kept = reranker.rerank(batch[qid], in_trec_order(kept))
        writer.write(qid, kept)


def _batches(topics: dict[str, str], size: int) -> Iterator[dict[str, str]]:
    items = list(topics.items())
    for start in range(0, len(items), size):
        yield dict(items[start : start + size])


def _search_batch(searcher: Any, batch: dict[str, str], feedback: Any, options: SearchOptions) -> dict[str, Any]:
    qids, queries = list(batch), list(batch.values())
    if feedback is None:
        vectors = queries
    else:
        vectors, found = searcher.batch_search(queries, qids, options.prf_depth, options.threads, return_vector=True)
        vectors = feedback.get_batch_prf_q_emb(qids, vectors, found)
    hits: dict[str, Any] = searcher.batch_search(vectors, qids, options.hits, options.threads)
    return hits


def _feedback(options: SearchOptions) -> Any:
    """Return Pyserini's pseudo-relevance feedback of the options, if any."""
    if options.prf_depth < 0:
        raise JPQError(f"--prf-depth {options.prf_depth} is below 0")
    if options.prf_depth == 0:
        return None
    if options.prf_method == "avg":
        return pyserini.average_prf()()
    weights = (options.rocchio_alpha, options.rocchio_beta, options.rocchio_gamma)
    return pyserini.rocchio_prf()(*weights, options.rocchio_topk, options.rocchio_bottomk)
