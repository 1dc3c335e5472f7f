"""Search: the query encoder and the searcher that Pyserini knows how to use, and the command that writes runs."""
