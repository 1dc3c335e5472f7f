"""Experiments as YAML files: commands, expected scores, and a verdict on what they give here."""
