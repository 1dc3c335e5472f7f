"""The machine and the versions of packages, which measurements depend on."""

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

_PACKAGES = (
    *("pyserini_jpq", "pyserini", "numpy", "scipy", "torch", "transformers", "faiss-cpu", "faiss-gpu", "scann"),
    *("hnswlib", "annoy", "scikit-learn", "matplotlib", "ir_measures", "pytrec_eval-terrier"),
)


def machine() -> dict[str, Any]:
    """Return the processor, its cores, the memory in GiB, the system and the load."""
    memory = _value(Path("/proc/meminfo"), "MemTotal")
    return {
        "processor": _value(Path("/proc/cpuinfo"), "model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(int(memory.split()[0]) / (1 << 20), 1) if memory else None,
        "system": f"{platform.system()} {platform.release()}",
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that are installed."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _value(file: Path, name: str) -> str | None:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), None)
