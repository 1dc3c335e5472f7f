"""Unpacking archives of others: regular files only, none outside the folder, no links, no devices, no pickles read."""

import gzip
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from tqdm import tqdm

from pyserini_jpq.errors import DownloadError

ENDINGS = (".tar.gz", ".tgz", ".tar", ".zip")


def is_archive(path: Path) -> bool:
    """Tell by its name whether a file is an archive that `unpack` takes."""
    return path.name.lower().endswith(ENDINGS)


def unpack(archive: Path, folder: Path, within: str = "") -> None:
    """Unpack an archive into a folder that exists.

    Parameters
    ----------
    archive
        A `.tar`, `.tar.gz`, `.tgz` or `.zip`.
    folder
        Where its files go; files that are there already are not replaced.
    within
        Take only what lies under this folder of the archive, without its name.

    Raises
    ------
    DownloadError
        If it is no whole archive, or holds anything but files and folders below its own root; the folder then holds
        a part, and the caller throws it away.
    """
    with _readable(archive):
        members = _zip_members(archive) if archive.name.lower().endswith(".zip") else _tar_members(archive)
        with tqdm(desc=f"unpacking {archive.name}", unit=" files", delay=1) as progress:
            for name, file in members:
                path = _inside(name, within)
                if path is not None:
                    _write(file, folder / path, archive)
                progress.update()


@contextmanager
def _readable(archive: Path) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError) as problem:
        raise DownloadError(
            f"{archive} is no whole archive ({problem}); remove it, and run the same command again to fetch it anew"
        ) from None


def _tar_members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with tarfile.open(archive, "r:*") as tar:
        for member in tar:
            _check_name(member.name, archive)
            if member.isdir():
                continue
            file = tar.extractfile(member) if member.isfile() else None
            if file is None:
                raise _unsafe(archive, member.name, "is a link or a device")
            yield member.name, file


def _zip_members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(archive) as zipped:
        for member in zipped.infolist():
            _check_name(member.filename, archive)
            if member.is_dir():
                continue
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG):
                raise _unsafe(archive, member.filename, "is a link or a device")
            with zipped.open(member) as file:
                yield member.filename, file


def _check_name(name: str, archive: Path) -> None:
    """Refuse a name that leads out of the folder, on this system or on another."""
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    if posix.is_absolute() or windows.drive or windows.root or ".." in windows.parts or "\0" in name:
        raise _unsafe(archive, name, "leads out of the folder")


def _inside(name: str, within: str) -> PurePosixPath | None:
    path = PurePosixPath(name)
    if not within:
        return path
    return path.relative_to(within) if path.is_relative_to(within) else None


def _write(source: IO[bytes], target: Path, archive: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(target, "xb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
    except FileExistsError:
        raise DownloadError(f"{archive} holds {target.name} twice; nothing of it was used") from None


def _unsafe(archive: Path, name: str, why: str) -> DownloadError:
    return DownloadError(f"{archive} is not safe to unpack: {name!r} {why}; nothing of it was used, remove the file")
