"""Say what pip is about to fetch for a requirement, and how large it is: `python .ci/size_of.py torch==2.13.0`.

Without a CPU build of torch for this Python, pip takes the one with CUDA: gigabytes, and minutes, that nobody expects.
"""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.request import Request, urlopen


def main(requirement: str) -> None:
    """Print a line or two; nothing where pip has nothing to fetch, or does not say."""
    print(f"asking pip for {requirement} ...", flush=True)
    packages = report(requirement, "--no-deps")
    if any(name_of_gpu(needed) for package in packages for needed in package["metadata"].get("requires_dist", [])):
        packages = report(requirement)  # takes a minute, and says whether they are needed here
    if not packages:
        return
    with ThreadPoolExecutor(8) as pool:
        sizes = list(pool.map(size_of, packages))
    version = next(p["metadata"]["version"] for p in packages if p["metadata"]["name"] == requirement.partition("=")[0])
    print(f"to fetch: {requirement.partition('=')[0]} {version}, {said(sizes)} in {len(packages)} packages", flush=True)
    cuda = [p for p in packages if name_of_gpu(p["metadata"]["name"])]
    if cuda:
        print(
            f"{len(cuda)} of them are for NVIDIA GPUs: pip knows no CPU build for Python "
            f"{sys.version_info.major}.{sys.version_info.minor} here. Stop with Ctrl-C, and name an index that has one "
            "in PIP_EXTRA_INDEX_URL, if you would rather not.",
            flush=True,
        )


def report(*words: str) -> list[dict[str, Any]]:
    """Return what pip would install; nothing where it cannot say."""
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--report", "-", *words]
    done = subprocess.run(pip, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    packages: list[dict[str, Any]] = [] if done.returncode else json.loads(done.stdout)["install"]
    return packages


def name_of_gpu(name: str) -> bool:
    """Return whether a package is one of CUDA's."""
    return name.startswith(("nvidia", "cuda", "triton"))


def size_of(package: dict[str, Any]) -> int | None:
    """Return how many bytes a package of pip's report has, by asking its host; None where it does not say."""
    try:
        with urlopen(Request(package["download_info"]["url"], method="HEAD"), timeout=10) as response:
            return int(response.headers["Content-Length"])
    except (OSError, TypeError, ValueError):
        return None


def said(sizes: list[int | None]) -> str:
    """Return the sum in words."""
    known = [size for size in sizes if size is not None]
    if not known:
        return "of unknown size"
    total = f"{sum(known) / 1e9:.1f} GB" if sum(known) >= 1e9 else f"{sum(known) / 1e6:.0f} MB"
    return total if len(known) == len(sizes) else f"at least {total}"


if __name__ == "__main__":
    main(sys.argv[1])
