"""Evaluates runs: metrics equal to trec_eval's, a table with a paired t-test, and a figure."""

from pyserini_jpq.evaluate.runs import Comparison, RunResult, evaluate

__all__ = ["Comparison", "RunResult", "evaluate"]
