"""Pyserini's versions, Java, and the import hook that gives pyserini what it needs."""
