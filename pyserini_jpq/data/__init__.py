"""The text files of an experiment: collections, topics, qrels and runs."""
