"""The demo: a real collection that every machine has, questions about it, and the two commands' main job."""
