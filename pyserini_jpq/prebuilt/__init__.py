"""Indexes by the name of their card: published ones fetched and converted, others built of collection and encoder."""

from pyserini_jpq.prebuilt.obtain import obtain_index

__all__ = ["obtain_index"]
