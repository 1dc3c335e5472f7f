"""Experiments as YAML files: commands, expected scores, and a verdict on the scores that they reach here."""
