"""Unpacking of archives from elsewhere: regular files inside the folder only, no links, no devices."""

import errno
import gzip
import lzma
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any

from pyserini_jpq.bars import Progress
from pyserini_jpq.errors import DownloadError, message_of

_LEAST, _RATIO = 1 << 28, 64
_MOST_FILES, _MOST_FIELDS = 1 << 20, 1 << 16
_GZIP = b"\x1f\x8b"
_DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError),
    *(ValueError, NotImplementedError, OverflowError, struct.error),
)
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
        The folder for its files; existing files are not replaced.
    within
        Unpack only the content of this folder of the archive.

    Raises
    ------
    DownloadError
        If it is no whole archive, is too large when unpacked, or holds anything but files and folders below its root;
        the caller then removes the folder, which holds a part.
    """
    with _readable(archive):
        members = _zip_members(archive) if archive.name.lower().endswith(".zip") else _tar_members(archive)
        room, count = _room(archive, folder), 0
        with Progress(desc=f"unpacking {archive.name}", unit=" files", delay=1) as progress:
            for name, size, file in members:
                count += 1
                room -= size
                if room < 0 or count > _MOST_FILES:
                    raise _unsafe(archive, name, "comes after more than such an archive, or the disk, can hold")
                path = _inside(name, within)
                if path is not None:
                    _write(file, size, folder / path, archive)
                progress.update()


def _room(archive: Path, folder: Path) -> int:
    """Return how large an archive may become; gzip shrinks text to a tenth at best."""
    return min(_LEAST + _RATIO * archive.stat().st_size, shutil.disk_usage(folder).free)


class _Member(tarfile.TarInfo):
    """A member whose long name and further fields, which are read into memory, have at most `_MOST_FIELDS` bytes."""

    def _proc_member(self, tar: tarfile.TarFile) -> Any:
        if not (self.isreg() or self.isdir() or self.issym() or self.islnk()) and self.size > _MOST_FIELDS:
            raise tarfile.ReadError(f"{self.size} bytes of fields for one file")
        return super()._proc_member(tar)  # type: ignore[misc]  # Python's own, without a public name


@contextmanager
def _readable(archive: Path) -> Iterator[None]:
    try:
        yield
    except RuntimeError as problem:  # of zipfile, for a file behind a password
        raise DownloadError(f"{archive} cannot be unpacked ({problem}); unpack it by hand") from None
    except _DAMAGED as problem:
        reason = message_of(problem)
        raise DownloadError(
            f"{archive} is no whole archive ({reason}); remove it, and run the same command again to fetch it anew"
        ) from None


def _tar_members(archive: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    with open(archive, "rb") as file:
        packed = file.read(2) == _GZIP  # other compressions can take gigabytes of memory
    with tarfile.open(archive, "r:gz" if packed else "r:", tarinfo=_Member) as tar:
        for member in tar:
            _check_name(member.name, archive)
            if member.isdir():
                continue
            content = tar.extractfile(member) if member.isreg() else None
            if content is None or member.issparse():
                raise _unsafe(archive, member.name, "has holes" if content else "is a link or a device")
            yield member.name, member.size, content
            tar.members = []  # type: ignore[attr-defined]  # else all members stay in memory


def _zip_members(archive: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    with zipfile.ZipFile(archive) as zipped:
        for member in zipped.infolist():
            _check_name(member.filename, archive)
            if member.is_dir():
                continue
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG):
                raise _unsafe(archive, member.filename, "is a link or a device")
            if member.header_offset < 0:  # of a directory that claims to be longer than it is
                raise zipfile.BadZipFile(f"a file begins {-member.header_offset} bytes before it")
            with zipped.open(member) as file:
                yield member.filename, member.file_size, file


def _check_name(name: str, archive: Path) -> None:
    """Refuse a name that leads out of the folder, on this system or on another."""
    if not name:
        raise _unsafe(archive, "one file", "has no name")
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    if posix.is_absolute() or windows.drive or windows.root or ".." in windows.parts or "\0" in name:
        raise _unsafe(archive, name, "leads out of the folder")


def _inside(name: str, within: str) -> PurePosixPath | None:
    path = PurePosixPath(name)
    if not within:
        return path
    return path.relative_to(within) if path.is_relative_to(within) else None


def _write(source: IO[bytes], size: int, target: Path, archive: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(target, "xb") as file:
            while block := source.read(min(size, 1 << 20)):
                size -= len(block)  # no more than the claimed size
                file.write(block)
    except (FileExistsError, NotADirectoryError):
        raise DownloadError(f"{archive} holds {target.name} twice; nothing of it was used") from None
    except OSError as problem:
        if problem.errno != errno.ENAMETOOLONG:
            raise
        raise _unsafe(archive, f"{target.name[:20]}…", "is too long a name") from None


def _unsafe(archive: Path, name: str, why: str) -> DownloadError:
    return DownloadError(f"{archive} is not safe to unpack: {name!r} {why}; nothing of it was used, remove the file")
