"""From the words of `evaluate --report` to a request."""

from typing import Any

from pyserini_jpq.compare.request import Request, check, named_baselines
from pyserini_jpq.errors import JPQError
from pyserini_jpq.evaluate.metrics import DEFAULT_METRICS

_NEEDED = ("embeddings", "topics", "index")
_OTHER = ("baseline", "bytes", "json", "figure")


def report(given: dict[str, Any], words: list[str]) -> None:
    """Check the arguments and make the report.

    Parameters
    ----------
    given
        The flags that were given, by name.
    words
        The command line.

    Raises
    ------
    JPQError
        With what is wrong.
    """
    from pyserini_jpq.compare.making import command_line, make

    request = _request(given, command_line(words))
    check(request, "overwrite" in given)
    make(request)


def _request(given: dict[str, Any], command: str) -> Request:
    from pyserini_jpq.evaluate.__main__ import named_runs
    from pyserini_jpq.index.folder import find_index

    problems: list[str] = []
    if missing := [f"--{name}" for name in _NEEDED if name not in given]:
        problems.append(f"a report needs {', '.join(missing)}")
    if stray := [f"--{name}" for name in _OTHER if name in given]:
        problems.append(f"{', '.join(stray)}: not with --report, which writes results.json and figures of its own")
    runs = named_runs([*given.get("runs", []), *given.get("run", [])], problems)
    if problems:
        raise JPQError("; ".join(problems))
    return Request(
        folder=given["report"],
        embeddings=given["embeddings"],
        topics=given["topics"],
        qrels=given["qrels"],
        indexes=tuple(find_index(name) for name in given["index"]),
        baselines=named_baselines(given.get("baselines", "all")),
        train_topics=given.get("train_topics"),
        train_qrels=given.get("train_qrels"),
        runs=runs,
        bm25=given.get("bm25"),
        corpus=given.get("corpus"),
        metrics=tuple(given.get("metrics", DEFAULT_METRICS)),
        hits=given.get("hits", 100),
        device=given.get("faiss_device"),
        clock=given.get("clock", "wall"),
        seed=given.get("seed", 42),
        command=command,
    )
