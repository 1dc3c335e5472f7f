"""From text to vectors: collections, the encoder tower, and the folder of embeddings."""
