"""Comparisons: every system on the same embeddings, in one folder of tables and figures."""
