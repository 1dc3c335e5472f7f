"""The options of a cluster, which make the flags `--ray`, `--ray-actors` and `--ray-resources`."""

import argparse
from dataclasses import dataclass

from pyserini_jpq.cli import positive_int
from pyserini_jpq.options import Options, option


def resources(text: str) -> str:
    """Check the resources of an actor, such as `num_gpus=1,big=0.5`, as an argparse type."""
    resources_of(text)
    return text


def resources_of(text: str) -> dict[str, float]:
    """Return resources by name; raise ArgumentTypeError if they are not written so."""
    found = {}
    for part in filter(None, text.split(",")):
        name, _, number = part.partition("=")
        try:
            found[name.strip()] = float(number)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{part!r} is no resource; write num_cpus=2 or num_gpus=1") from None
    return found


@dataclass(frozen=True)
class ClusterOptions(Options):
    """Where work is done by Ray, and by how many actors."""

    ray: str | None = option(None, "work on a Ray cluster: its address, auto, or local to start one here")
    ray_actors: int | None = option(None, "actors that work (default: as many as fit)", positive_int)
    ray_resources: str = option("num_cpus=1", "what an actor takes: num_cpus, num_gpus, and your own", resources)
