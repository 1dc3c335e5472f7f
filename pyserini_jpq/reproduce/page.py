"""The Markdown of an experiment: a table with verdicts, the commands, and a line in the reproduction log."""

from collections import Counter
from collections.abc import Mapping
from datetime import date
from pathlib import Path

from pyserini_jpq.evaluate.machine import machine, versions
from pyserini_jpq.evaluate.table import Table, as_markdown, escaped
from pyserini_jpq.files import write_text_atomically
from pyserini_jpq.reproduce.experiment import Condition, Experiment
from pyserini_jpq.reproduce.runner import Result
from pyserini_jpq.reproduce.scores import FAIL, NEW, OK, OKISH, Score

LOG = "## Reproduction log"
_PACKAGES = ("python", "pyserini", "torch", "transformers", "faiss-cpu", "faiss-gpu")


def write_page(page: Path, experiment: Experiment, results: Mapping[str, Result], log: bool) -> None:
    """Write the section of an experiment into a page, in place of the old one.

    Parameters
    ----------
    page
        A Markdown file; everything outside the section is kept.
    experiment
        The experiment.
    results
        Results of the conditions that were run; the others are marked as not run.
    log
        Add a line to the reproduction log.
    """
    text = page.read_text(encoding="utf-8") if page.is_file() else f"# {experiment.title}\n"
    begin, end = f"<!-- begin {experiment.name} -->", f"<!-- end {experiment.name} -->"
    section = f"{begin}\n{render(experiment, results)}\n{end}"
    head, found, rest = text.partition(begin)
    if found:
        text = head + section + rest.partition(end)[2]
    else:
        head, found, rest = text.partition(LOG)
        text = f"{head.rstrip()}\n\n{section}\n\n{found}{rest}".rstrip() + "\n"
    if log:
        text = _with_log(text, log_line(experiment, results))
    write_text_atomically(page, text)


def render(experiment: Experiment, results: Mapping[str, Result]) -> str:
    """Return the section of an experiment as Markdown."""
    lines = [f"## {experiment.title}", "", experiment.description.strip(), ""]
    lines += [as_markdown(_table(experiment, results)), ""]
    command = f"`python -m pyserini_jpq.reproduce {experiment.name}`"
    lines.append(f"By {command}: {where()}." if results else f"By {command}, which was not run here.")
    lines.append(
        "A figure alone is equal to what was expected, to four decimals, or nothing was; else the expected one stands "
        "beside it. Figures in parentheses were published elsewhere, some to three decimals only, and not run here."
    )
    for name, condition in experiment.conditions.items():
        lines += ["", *_commands(name, condition, results.get(name))]
    return "\n".join(lines)


def log_line(experiment: Experiment, results: Mapping[str, Result]) -> str:
    """Return the line of this reproduction for the log."""
    verdicts = Counter(s.verdict for r in results.values() for scores in r.scores.values() for s in scores.values())
    counts = ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in (OK, OKISH, FAIL, NEW) if verdicts[verdict])
    failed = [name for name, result in results.items() if result.problem]
    problems = f"; not finished: {', '.join(failed)}" if failed else ""
    rows = f"{len(results)} of {len(experiment.conditions)} rows"
    return f"- {date.today().isoformat()}, {experiment.name}, {rows}: {counts or 'no score'}{problems} ({where()})"


def where() -> str:
    """Return the machine and the versions that figures depend on."""
    here, installed = machine(), versions()
    named = [f"{name} {installed[name]}" for name in _PACKAGES if name in installed]
    return ", ".join([f"{here['system']}, {here['processor']}, {here['cores']} cores", *named])


def _table(experiment: Experiment, results: Mapping[str, Result]) -> Table:
    columns = [(key, metric) for key, topics in experiment.topics.items() for metric in topics.metrics]
    header = ["condition", "bytes/doc", *(f"{key} {metric}" for key, metric in columns), "time"]
    rows = []
    for name, condition in experiment.conditions.items():
        result = results.get(name)
        cells = [_cell(condition, result, key, metric) for key, metric in columns]
        rows.append([condition.display, condition.bytes, *cells, _time(result)])
    return Table(header, rows)


def _cell(condition: Condition, result: Result | None, key: str, metric: str) -> str:
    score = result.scores.get(key, {}).get(metric) if result else None
    if score is not None:
        return _shown(score)
    expected = condition.scores.get(key, {}).get(metric)
    return "" if expected is None else f"({_figure(expected)})"


def _shown(score: Score) -> str:
    if score.verdict in (OK, NEW):
        return _figure(score.value)
    return f"{_figure(score.value)} {score.verdict}, expected {_figure(score.expected or 0)}"


def _figure(value: float) -> str:
    return f"{value:.4f}".removeprefix("0") if value < 1 else f"{value:.4f}"


def _time(result: Result | None) -> str:
    if result is None:
        return "not run"
    if result.problem:
        return "failed"
    seconds = sum(result.seconds.values())
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.0f} s"


def _commands(name: str, condition: Condition, result: Result | None) -> list[str]:
    lines = [f"<details><summary>{escaped(name)}</summary>", "", "```bash"]
    lines += [*(step.command for step in condition.steps), condition.command, "```"]
    if result and result.problem:
        lines += ["", f"Not finished: {escaped(result.problem)}"]
    return [*lines, "", "</details>"]


def _with_log(text: str, line: str) -> str:
    if LOG not in text:
        text = f"{text.rstrip()}\n\n{LOG}\n\n"
    return text.rstrip() + f"\n{line}\n"
