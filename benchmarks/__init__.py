"""Measurements of search, each one command; not part of the installed package."""
