"""The index: training the product quantizer, assigning codes, the folder that Pyserini opens."""
