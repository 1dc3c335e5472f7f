"""The dev half of the questions among the training queries: few, but asked as people ask.

Derived queries have the words of the documentation; the questions in `questions/` have those of people who look for
something. Half of them is there to learn from, the other half, `test`, is what the demo is measured on.
"""

from pathlib import Path

from demo.training_queries import QRELS, TOPICS

QUESTIONS = Path(__file__).parent / "questions"
TIMES = 20
"""Times that each question stands among the training queries: about a sixth of all."""


def add_dev_half(folder: Path, times: int = TIMES) -> None:
    """Append the questions of the dev half, each several times, to the training topics and qrels in a folder."""
    topics = (QUESTIONS / "topics.dev.tsv").read_text(encoding="utf-8").splitlines()
    qrels = (QUESTIONS / "qrels.dev.txt").read_text(encoding="utf-8").splitlines()
    for name, lines in ((TOPICS, topics), (QRELS, qrels)):
        with (folder / name).open("a", encoding="utf-8", newline="\n") as out:
            out.writelines(f"dev{time}{line}\n" for time in range(times) for line in lines)
