"""Checksums of downloads: those of the card, else those noted in `SHA256SUMS` on first use."""

import hashlib
from pathlib import Path

from pyserini_jpq import cli
from pyserini_jpq.bars import Progress
from pyserini_jpq.errors import DownloadError
from pyserini_jpq.files import write_text_atomically

SUMS = "SHA256SUMS"
_READ_BYTES = 1 << 20


def check(path: Path, name: str, published: str | None, url: str) -> None:
    """Compare a file with its checksum; note its SHA-256 if none is noted under its name.

    Parameters
    ----------
    path
        The file, which may still have another name.
    name
        Its name in the `SHA256SUMS` of its folder, which `sha256sum --check` reads.
    published
        `sha256:…` or `md5:…` as the card says, or None.
    url
        Its address, for errors.

    Raises
    ------
    DownloadError
        If the file is not the one that was published, or not the one that was there the first time.
    """
    noted = _read(path.parent).get(name)
    kinds = {"sha256", *([published.partition(":")[0]] if published else [])}
    found = _digests(path, sorted(kinds))
    if published and found[published.partition(":")[0]] != published.partition(":")[2]:
        kind, _, digest = published.partition(":")
        raise DownloadError(
            f"{name} from {url} has {kind} {found[kind]}, its card says {digest}; nothing of it was used: it was "
            "damaged on the way, or is not the published file"
        )
    if noted and found["sha256"] != noted:
        raise DownloadError(
            f"{name} from {url} has sha256 {found['sha256']}, but {noted} is noted in {path.parent / SUMS} from the "
            "first time; nothing of it was used: if the publisher has replaced the file, remove that line"
        )
    if not noted:
        _note(path.parent, name, found["sha256"])
        if not published:
            cli.say(f"{name}: sha256 {found['sha256']} noted in {path.parent / SUMS}, and checked from now on")


def _digests(path: Path, kinds: list[str]) -> dict[str, str]:
    digests = {kind: hashlib.new(kind) for kind in kinds}
    size = path.stat().st_size
    with (
        open(path, "rb") as file,
        Progress(total=size, desc=f"checking {path.name}", unit="B", unit_scale=True, delay=2, leave=False) as progress,
    ):
        while block := file.read(_READ_BYTES):
            for digest in digests.values():
                digest.update(block)
            progress.update(len(block))
    return {kind: digest.hexdigest() for kind, digest in digests.items()}


def _read(folder: Path) -> dict[str, str]:
    path = folder / SUMS
    if not path.is_file():
        return {}
    pairs = (line.split("  ", 1) for line in path.read_text(encoding="utf-8").splitlines() if "  " in line)
    return {name: digest for digest, name in pairs}


def _note(folder: Path, name: str, digest: str) -> None:
    sums = {**_read(folder), name: digest}
    write_text_atomically(folder / SUMS, "".join(f"{value}  {key}\n" for key, value in sorted(sums.items())))
