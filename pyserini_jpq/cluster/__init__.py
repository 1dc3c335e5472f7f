"""Pieces of work on several machines, by Ray (extra `ray`): a pool of actors whose losses are made good."""

from pyserini_jpq.cluster.options import ClusterOptions
from pyserini_jpq.cluster.pool import Cluster

__all__ = ["Cluster", "ClusterOptions"]
