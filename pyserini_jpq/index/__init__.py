"""The index: training the product quantizer, assigning codes, and the folder that Pyserini opens."""
