"""From text to vectors: collections, the encoder encoder, and the folder of embeddings."""
