"""Evaluating runs: metrics equal to trec_eval's, a table with a paired t-test, and a figure."""

from pyserini_jpq.callable_module import make_callable

make_callable(__name__, "evaluate.runs", "evaluate")
