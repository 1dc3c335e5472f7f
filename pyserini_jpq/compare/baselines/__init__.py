"""Baselines on the same embeddings: compressed, non-exhaustive and exact engines behind one interface."""
