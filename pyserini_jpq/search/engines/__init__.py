"""The search engines: one file each, one interface."""
