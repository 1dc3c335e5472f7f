"""Pyserini plugin for JPQ."""

from pyserini_jpq._import_hook import install_import_hook

install_import_hook()
