"""Serving: REST, and a search page, over indexes that are open by name."""
