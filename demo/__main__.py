"""`python -m demo`: BM25, flat, OPQ and JPQ side by side on the documentation of Python's standard library.

Every stage is the command that a user would type; stages whose output exists are left out.
"""

import json
import shlex
import shutil
import sys
from pathlib import Path

from demo.baselines import bm25_run
from demo.dev_half import QUESTIONS, add_dev_half
from demo.python_docs import write_collection
from demo.training_queries import write_training_queries
from pyserini_jpq import cli, steps
from pyserini_jpq.encode.embeddings import is_complete
from pyserini_jpq.locks import exclusive

COLLECTION = Path("collections/demo")
EMBEDDINGS = Path("embeddings/demo")
OPQ = Path("indexes/demo.opq-m24")
JPQ = Path("indexes/demo.jpq-m24")
ENCODER = Path("encoders/demo.jpq-m24")
RUNS = Path("runs/demo")
METRICS = ("nDCG@10", "R@100")
BYTES = {"flat": 1536, "opq": 24, "jpq": 24}
# Most training queries are derived, and their labels are rough: the uncompressed encoder teaches beside them, far down
# the list, where R@100 is decided.
TRAINING = {"loss": "listwise", "distill_weight": 1, "distill_temperature": 5, "num_negatives": 500, "epochs": 1}


def main(argv: list[str]) -> None:
    """Run the whole way, from documentation to a table."""
    cli.OneLineParser(prog="python -m demo", description=__doc__).parse_args(argv)
    with exclusive(RUNS):
        _start_over_if_stale()
        if not (COLLECTION / "ready").is_file():
            write_collection(COLLECTION)
            write_training_queries(COLLECTION)
            add_dev_half(COLLECTION)
            (COLLECTION / "ready").touch()
        documents = COLLECTION / "documents.jsonl"
        encode = _command("encode", corpus=documents, encoder="all-minilm-l6-v2", output=EMBEDDINGS)
        steps.make(EMBEDDINGS, encode, lambda folder: folder.exists() and is_complete(folder))
        steps.make(OPQ, _command("index", embeddings=EMBEDDINGS, output=OPQ, m=24))
        learned = {"topics": COLLECTION / "topics.train.tsv", "qrels": COLLECTION / "qrels.train.txt"}
        written = {"output": JPQ, "output_encoder": ENCODER}
        steps.make(JPQ, _command("train", "--overwrite", index=OPQ, **learned, **written, **TRAINING))
        _search_and_evaluate(documents)


def _search_and_evaluate(documents: Path) -> None:
    RUNS.mkdir(parents=True, exist_ok=True)
    topics, qrels = QUESTIONS / "topics.test.tsv", QUESTIONS / "qrels.test.txt"
    runs = {name: RUNS / f"run.{name}.txt" for name in ("bm25", "flat", "opq", "jpq")}
    bm25_run(documents, topics, runs["bm25"])
    for name, index in (("flat", EMBEDDINGS), ("opq", OPQ), ("jpq", JPQ)):
        flags = {"index": index, "topics": topics, "output": runs[name], "batch_size": 32}
        steps.run_command(_command("search", "--overwrite", **flags))
    figure, results = RUNS / "effectiveness.png", RUNS / "results.json"
    words = ["--metrics", *METRICS, "--bytes", *(f"{name}={size}" for name, size in BYTES.items()), "--overwrite"]
    flags = {"qrels": qrels, "baseline": "flat", "json": results, "figure": figure}
    named = shlex.join(f"{name}={path}" for name, path in runs.items())
    steps.run_command(f"{_command('evaluate', **flags)} {named} {shlex.join(words)}")
    names = [run["run"] for run in json.loads(results.read_text())["runs"]]
    print(f"\n{len(names)} runs: {results}, figure: {figure}\nSearch it yourself:\n")
    print(f"  {sys.executable} -m demo.ask 'read a csv file into dictionaries'")


def _start_over_if_stale() -> None:
    """Throw away what another Python made: its standard library has another documentation."""
    version = COLLECTION / "python-version"
    if version.is_file() and version.read_text() == sys.version:
        return
    for folder in (COLLECTION, EMBEDDINGS, OPQ, JPQ, ENCODER, RUNS):
        shutil.rmtree(folder, ignore_errors=True)
    COLLECTION.mkdir(parents=True)
    version.write_text(sys.version)


def _command(command: str, *switches: str, **flags: object) -> str:
    """Return a command of ours as a user would type it."""
    words = ["python", "-m", f"pyserini_jpq.{command}", *switches]
    for name, value in flags.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(words)


if __name__ == "__main__":
    sys.exit(cli.run(main))  # type: ignore[arg-type]
