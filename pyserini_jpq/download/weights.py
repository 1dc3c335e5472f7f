"""The weights of an encoder that its authors keep in a Google Drive folder or in an archive."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from pyserini_jpq import cli
from pyserini_jpq.download import checksums
from pyserini_jpq.download.archive import is_archive, unpack
from pyserini_jpq.download.download import fetch
from pyserini_jpq.errors import DownloadError
from pyserini_jpq.files import link_or_copy, new_folder, partial_folder, remove
from pyserini_jpq.paths import DOWNLOADS

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_DRIVE = "drive.google.com"
_TIMEOUT = 60


def fetch_weights(url: str, name: str, folder: Path) -> None:
    """Make a folder with the configuration and the weights of an encoder, without loading them.

    Parameters
    ----------
    url
        A folder of Google Drive, or an archive.
    name
        Of the encoder; downloads go to `downloads/NAME/`.
    folder
        The folder for the files; a user without a network puts them there by hand.

    Raises
    ------
    DownloadError
        If they cannot be fetched, with address and place in one line, or hold no weights.
    """
    if urlsplit(url).hostname == _DRIVE:
        _place(_fetch_drive(url, name, folder), folder)
        return
    with unpacked(fetch(url, DOWNLOADS / name, f"the encoder {name}")) as inside:
        _place(inside, folder)


@contextmanager
def unpacked(archive: Path) -> Iterator[Path]:
    """Unpack an archive beside itself for the time of a block; yield the folder in it that holds an encoder."""
    if not is_archive(archive):
        raise DownloadError(f"{archive} is no archive that can be unpacked (.tar.gz, .tar, .zip)")
    folder = partial_folder(archive.with_name(f"{archive.name}.unpacked"))
    remove(folder)
    folder.mkdir(parents=True)
    try:
        unpack(archive, folder)
        yield encoder_folder(folder, str(archive))
    finally:
        remove(folder)


def encoder_folder(folder: Path, where: str) -> Path:
    """Return the one folder below that holds a configuration and weights.

    Raises
    ------
    DownloadError
        If there is none, or several.
    """
    found = [p.parent for p in sorted(folder.rglob(CONFIG)) if any((p.parent / name).is_file() for name in WEIGHTS)]
    if len(found) != 1:
        problem = "no folder" if not found else "several folders"
        raise DownloadError(f"{where} holds {problem} with {CONFIG} and {' or '.join(WEIGHTS)}")
    return found[0]


def _fetch_drive(url: str, name: str, folder: Path) -> Path:
    import gdown
    import requests

    downloads = DOWNLOADS / name
    downloads.mkdir(parents=True, exist_ok=True)
    cli.say(f"fetching the encoder {name} from {url}")
    try:
        files = gdown.download_folder(
            url, output=str(downloads), quiet=True, use_cookies=False, resume=True, timeout=_TIMEOUT, retries=3
        )
    except (gdown.exceptions.DownloadError, requests.RequestException, OSError) as problem:
        reason = " ".join(str(problem).split()).partition(" (Caused by")[0]
        raise DownloadError(
            f"cannot fetch the encoder {name} from {url} ({reason}); run the same command again, or fetch its {CONFIG} "
            f"and {WEIGHTS[1]} with a browser and put them into {folder}"
        ) from None
    for path in (Path(str(file)) for file in files):
        if path.name in (CONFIG, *WEIGHTS):
            checksums.check(path, path.name, None, url)
    return encoder_folder(downloads, url)


def _place(source: Path, folder: Path) -> None:
    with new_folder(folder, overwrite=False) as prepared:
        for name in (CONFIG, *WEIGHTS):
            if (source / name).is_file():
                link_or_copy(source / name, prepared / name)
