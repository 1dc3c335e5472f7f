"""`python -m demo`: BM25, flat, OPQ and JPQ side by side on the documentation of Python's standard library.

Every stage is the command that a user would type; what is there already from an earlier run is not done again.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from demo.baselines import bm25_run
from demo.dev_half import QUESTIONS, add_dev_half
from demo.python_docs import write_collection
from demo.training_queries import write_training_queries
from pyserini_jpq import cli
from pyserini_jpq.errors import JPQError

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
    _start_over_if_stale()
    if not (COLLECTION / "ready").is_file():
        write_collection(COLLECTION)
        write_training_queries(COLLECTION)
        add_dev_half(COLLECTION)
        (COLLECTION / "ready").touch()
    topics, qrels = QUESTIONS / "topics.test.tsv", QUESTIONS / "qrels.test.txt"
    RUNS.mkdir(parents=True, exist_ok=True)

    if not OPQ.exists():
        if not (EMBEDDINGS / "done").exists():
            _command("encode", corpus=COLLECTION / "documents.jsonl", encoder="all-minilm-l6-v2", output=EMBEDDINGS)
            (EMBEDDINGS / "done").touch()
        _command("index", embeddings=EMBEDDINGS, output=OPQ, m=24)
    if not JPQ.exists():
        _command(
            "train",
            "--overwrite",
            index=OPQ,
            topics=COLLECTION / "topics.train.tsv",
            qrels=COLLECTION / "qrels.train.txt",
            output=JPQ,
            output_encoder=ENCODER,
            **TRAINING,
        )

    runs = {name: RUNS / f"run.{name}.txt" for name in ("bm25", "flat", "opq", "jpq")}
    bm25_run(COLLECTION / "documents.jsonl", topics, runs["bm25"])
    for name, index in (("flat", EMBEDDINGS), ("opq", OPQ), ("jpq", JPQ)):
        _command("search", "--overwrite", index=index, topics=topics, output=runs[name], batch_size=32)
    _report(runs, qrels)


def _start_over_if_stale() -> None:
    """Throw away what another Python made: its standard library has another documentation."""
    version = COLLECTION / "python-version"
    if version.is_file() and version.read_text() == sys.version:
        return
    for folder in (COLLECTION, EMBEDDINGS, OPQ, JPQ, ENCODER, RUNS):
        shutil.rmtree(folder, ignore_errors=True)
    COLLECTION.mkdir(parents=True)
    version.write_text(sys.version)


def _command(command: str, *switches: str, **flags: object) -> None:
    """Run a command of ours as a user would, and show it."""
    words = [f"pyserini_jpq.{command}", *switches]
    for name, value in flags.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    cli.say(f"\n$ python -m {' '.join(words)}")
    status = subprocess.run([sys.executable, "-m", *words]).returncode
    if status:
        raise JPQError(f"the demo stopped in `{command}` (status {status}); `make demo` goes on from there")


def _report(runs: Mapping[str, Path], qrels: Path) -> None:
    figure, results = RUNS / "effectiveness.png", RUNS / "results.json"
    evaluate = [
        *(sys.executable, "-m", "pyserini_jpq.evaluate", "--qrels", str(qrels), "--metrics", *METRICS),
        *("--baseline", "flat", "--bytes", *(f"{name}={size}" for name, size in BYTES.items())),
        *("--json", str(results), "--figure", str(figure)),
        *(f"{name}={path}" for name, path in runs.items()),
    ]
    cli.say("")
    if subprocess.run(evaluate).returncode:
        raise JPQError("the demo stopped in `evaluate`; `make demo` goes on from there")
    names = [run["run"] for run in json.loads(results.read_text())["runs"]]
    print(f"\n{len(names)} runs: {results}, figure: {figure}\nSearch it yourself:\n")
    print(f"  {sys.executable} -m demo.ask 'read a csv file into dictionaries'")


if __name__ == "__main__":
    sys.exit(cli.run(main))  # type: ignore[arg-type]
