"""Training as a function: check all inputs, train, write."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyserini_jpq import cli
from pyserini_jpq.cards import has_card
from pyserini_jpq.data.source import is_file
from pyserini_jpq.errors import JPQError, TrainingError
from pyserini_jpq.files import remove, write_json_atomically
from pyserini_jpq.paths import jpq_name
from pyserini_jpq.prebuilt import obtain_index
from pyserini_jpq.train.data import Coverage
from pyserini_jpq.train.distributed import Ranks, alone
from pyserini_jpq.train.document_encoder import train_document_encoder
from pyserini_jpq.train.document_map import train_document_map
from pyserini_jpq.train.inputs import Inputs, Qrels, Scores, Topics, read_inputs
from pyserini_jpq.train.options import WITHOUT_TOPICS, TrainOptions, changed, with_recipe
from pyserini_jpq.train.output import Outputs, write_document_encoder, write_encoder, write_index
from pyserini_jpq.train.setup import make_trainer
from pyserini_jpq.train.source import read_source
from pyserini_jpq.train.trainer import Trainer
from pyserini_jpq.trust.plain import read_json_object

_SETTINGS = "settings.json"
_DOCUMENTS = "documents"


def train(
    index: str | Path,
    topics: Topics | None = None,
    qrels: Qrels | None = None,
    output: str | Path | None = None,
    *,
    options: TrainOptions | None = None,
    dev_topics: Topics | None = None,
    dev_qrels: Qrels | None = None,
    embeddings: str | Path | None = None,
    scores: Scores | None = None,
    corpus: str | Path | None = None,
    output_encoder: str | Path | None = None,
    recipe: str | Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Train the query encoder and the centroids of an index together, and write both.

    The same call resumes an interrupted one.

    Parameters
    ----------
    index
        Folder or name of the index to start from; it is not changed.
    topics
        Training queries: texts by query id, a file, or the name of a collection's card or of Pyserini. None makes
        queries of the documents, which the uncompressed encoder teaches.
    qrels
        Relevant documents by query id (grades by docid, docids, or one docid), a file, or a name. None for a loss
        without labels.
    output
        Index folder to write; by default beside the index, with `.jpq` in its name.
    options
        All other options.
    dev_topics, dev_qrels
        Dev queries, by which the best model is written, not the last.
    embeddings
        Folder of the uncompressed embeddings of the index; by default the one that the index names, if it exists.
    scores
        Scores of a stronger model by query id and docid, or a file of them, for the loss `margin-mse`.
    corpus
        The collection, by path or name, to make queries of, where the index keeps no texts.
    output_encoder
        Encoder folder to write; `encoders/NAME` by default.
    recipe
        Values for options that are left at their defaults: by name, or an index card that has some. By default the
        card of the output's name, if there is one.
    overwrite
        Replace existing outputs.

    Returns
    -------
    pathlib.Path
        The folder of the new index.

    Raises
    ------
    JPQError
        If an input cannot be used.
    KeyboardInterrupt
        After a signal to stop; a checkpoint has been written.

    Examples
    --------
    >>> queries = {"q1": TEXTS[1], "q2": TEXTS[2]}
    >>> labels = {"q1": [IDS[1], IDS[5]], "q2": IDS[2]}
    >>> train(INDEX, queries, labels, FOLDER / "notes.jpq", options=TrainOptions(epochs=1)).name
    'notes.jpq'
    """
    if recipe is None:
        recipe = WITHOUT_TOPICS if topics is None else card_of(index, output)
    options = with_recipe(changed(TrainOptions.of(options)), recipe)
    if topics is None and options.margins is not None:
        options = dataclasses.replace(options, loss="margin-mse")
    _check(options, topics, qrels, scores, (dev_topics, dev_qrels))
    # Check files before an index is downloaded or built.
    for given, what in ((topics, "topics"), (qrels, "qrels"), (dev_topics, "topics"), (dev_qrels, "qrels")):
        if isinstance(given, str | Path):
            is_file(str(given), what)
    path = obtain_index(str(index), build=True, consent=cli.consent(options.yes))
    output = Path(output) if output else path.with_name(jpq_name(path.name))
    of_documents = options.train_documents in ("lora", "full")
    outputs = Outputs.of(output, Path(output_encoder) if output_encoder else None, overwrite, of_documents)
    dev = None if dev_topics is None or dev_qrels is None else (dev_topics, dev_qrels)
    folder = Path(embeddings) if embeddings else None
    outputs.check(path, options.resume)
    with alone(outputs.index, outputs.encoder):
        outputs.check(path, options.resume)  # another run may have finished one since
        source = read_source(path, mapped=Ranks.launched() > 1)
        inputs = read_inputs(source, topics, qrels, options, folder, scores, dev, corpus)
        _train_and_write(inputs, corpus, options, outputs)
    return outputs.index


def _train_and_write(inputs: Inputs, corpus: str | Path | None, options: TrainOptions, outputs: Outputs) -> None:
    """Train, resuming from the newest checkpoint if there is one, and write index and encoder."""
    if not options.resume:
        remove(outputs.training)
    if options.train_documents is not None:
        inputs = _with_trained_documents(inputs, corpus, options, outputs.training)
    trainer = make_trainer(inputs, options, outputs.training)
    if trainer.ranks.is_first:
        cli.say(_summary(inputs.coverage, trainer))
    _begin_or_resume(outputs.training, inputs.fingerprint(trainer.options), trainer)
    trainer.run()
    kept = trainer.take_best()
    if trainer.ranks.is_first:
        _write(trainer, inputs, outputs, *kept)
        remove(outputs.training)
        cli.say(f"index: {outputs.index}\nquery encoder: {outputs.encoder}")
    trainer.ranks.leave()


def _with_trained_documents(inputs: Inputs, corpus: str | Path | None, options: TrainOptions, folder: Path) -> Inputs:
    """Return the inputs with a trained document side; what another run left in the folder is refused."""
    if Ranks.launched() > 1:
        raise TrainingError("--train-documents runs in one process: start the command without torchrun")
    path, settings = folder / _DOCUMENTS / _SETTINGS, inputs.fingerprint(options)
    if path.is_file():
        _check_settings(path, settings)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json_atomically(path, settings)
    if options.train_documents == "linear":
        return train_document_map(inputs, options, path.parent)
    return train_document_encoder(inputs, corpus, options, path.parent)


def card_of(index: str | Path, output: str | Path | None) -> str | None:
    """Return the name of the output's index card, which may have a recipe, if there is one."""
    name = Path(output).name if output else jpq_name(Path(index).name)
    return name if has_card("indexes", name) else None


def _check(
    options: TrainOptions,
    topics: Topics | None,
    qrels: Qrels | None,
    scores: Scores | None,
    dev: tuple[Topics | None, Qrels | None],
) -> None:
    """Raise TrainingError if the arguments do not fit together, before anything is read."""
    if (dev[0] is None) != (dev[1] is None):
        raise TrainingError("--dev-topics and --dev-qrels go together")
    if dev[0] is not None:
        _check_metric(options.dev_metric)
    if topics is not None and options.margins is not None:
        raise TrainingError("--margins scores queries that are made of the documents: leave --topics or --margins out")
    if (options.loss == "margin-mse") != (scores is not None or options.margins is not None):
        raise TrainingError("--loss margin-mse and --scores go together")
    if options.listwise_weight and not options.learns_from_labels:
        raise TrainingError(f"--listwise-weight adds to a loss that learns from labels: not to {options.loss}")
    if topics is None and (qrels is not None or scores is not None):
        raise TrainingError("--qrels and --scores are of queries: give these with --topics")
    if topics is not None and qrels is None and options.learns_from_labels:
        raise TrainingError(
            f"--loss {options.loss} learns from labels: give --qrels, or --loss distill, which needs none"
        )


def _check_metric(name: str) -> None:
    from pyserini_jpq.evaluate.metrics import parse_metrics, unknown_metrics

    if unknown := parse_metrics([name])[1]:
        raise JPQError(f"--dev-metric: {unknown_metrics(unknown)}")


def _summary(coverage: Coverage, trainer: Trainer) -> str:
    documents, options = trainer.model.documents, trainer.options
    beside = {"listwise": options.listwise_weight, "distillation": options.distill_weight}
    loss = " + ".join([options.loss, *(f"{weight:g} {name}" for name, weight in beside.items() if weight)])
    labels = f" with {coverage.judgements} relevant documents" if coverage.judgements else ""
    if held_out := coverage.queries - trainer.batches.queries:
        labels += f" ({held_out} held out)"
    return (
        f"{coverage.queries} queries{labels}, {documents} documents, {trainer.total} steps on {trainer.device}, "
        f"loss {loss}"
    )


def _begin_or_resume(folder: Path, settings: dict[str, Any], trainer: Trainer) -> None:
    path = folder / _SETTINGS
    if path.is_file() and trainer.checkpoints.newest_path():
        _check_settings(path, settings)
        if trainer.resume() and trainer.ranks.is_first:
            cli.say(f"going on after step {trainer.step_number} of {trainer.total} (--no-resume starts over)")
    elif trainer.ranks.is_first:
        # A run that was killed before its first checkpoint may have left a log.
        trainer.log.rewind(-1)
    if trainer.ranks.is_first:
        folder.mkdir(parents=True, exist_ok=True)
        write_json_atomically(path, settings)


def _check_settings(path: Path, settings: dict[str, Any]) -> None:
    """Raise TrainingError if a file of settings is of another run."""
    if _read(path) != settings:
        raise TrainingError(
            f"{path.parent} holds the checkpoint of a run with another index, queries or recipe; "
            "give --no-resume to start over, or another --output"
        )


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return read_json_object(path)
    except ValueError:  # cut off: of another run, as far as anybody knows
        return None


def _write(trainer: Trainer, inputs: Inputs, outputs: Outputs, share: float, means: dict[float, float]) -> None:
    outputs.check(inputs.source.folder.path, resume=True)  # what heeds no lock may have put something there
    metric = trainer.options.dev_metric
    if means:
        shown = ", ".join(f"{of:g}: {mean:.4f}" for of, mean in means.items())
        cli.say(f"kept {share:g} of what training changed; {metric} by share: {shown}")
    made_of = {name: getattr(trainer.options, name) for name in ("pseudo_kinds", "generator", "margins")}
    training = {
        "recipe": trainer.options.recipe(),
        "queries": inputs.coverage.queries,
        "judgements": inputs.coverage.judgements,
        **({"made_of": made_of} if inputs.made else {}),
        "steps": trainer.step_number,
        "dev_metric": metric if inputs.dev else None,
        "history": trainer.history,
        "trained_share": share,
        "by_trained_share": means,
    }
    encoder = write_encoder(trainer.model, outputs)
    document = write_document_encoder(inputs.source, outputs)
    write_index(inputs.source, trainer.model, encoder, training, trainer.log.path, outputs, document)
