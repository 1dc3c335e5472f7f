"""Indexes on the Hugging Face hub: sent with their query encoder, and fetched with every hash checked.

Only files on a list are fetched; none of them holds code or a pickle. Opening an index fetches nothing.
"""

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyserini_jpq.convert.hub_card import model_card
from pyserini_jpq.convert.hub_files import ENCODER, README, is_allowed, prepare
from pyserini_jpq.errors import ConversionError, DownloadError, JPQError, OutputError, first_line
from pyserini_jpq.files import beside, move_into_place, refuse_existing, remove, sha256_of
from pyserini_jpq.index.blocks import keep_blocks
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.index.manifest import MANIFEST
from pyserini_jpq.locks import exclusive

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

_REPLACED = ["texts*", f"{ENCODER}/*"]
"""What an index before may have left in the repository, and this one lacks."""
_CACHE = ".cache"  # of the hub's client, in the folder that it downloads to


def push(
    index: IndexFolder,
    repo: str,
    *,
    private: bool = False,
    about: str = "",
    token: str | None = None,
    endpoint: str | None = None,
) -> str:
    """Send an index and its query encoder to a model repository of the hub, as one commit.

    Repeated after an interruption, it does not send again the files that the hub has.

    Parameters
    ----------
    index
        The index.
    repo
        `OWNER/NAME`; made if it does not exist.
    private
        Make it as a private one.
    about
        Markdown for the model card: data and figures that the index does not know.
    token
        The hub's token; by default the one that `hf auth login` or HF_TOKEN gave.
    endpoint
        Address of the hub; by default HF_ENDPOINT's.

    Returns
    -------
    str
        The address of the commit.

    Raises
    ------
    EncoderError
        If the index names no query encoder, or it is gone.
    OutputError
        If the hub refuses it, or cannot be reached.
    """
    api = _api(token, endpoint)
    with beside(index.path.with_name(f"{index.path.name}.hub")) as folder:
        folder.mkdir()
        prepare(index, folder)
        page = model_card(repo, IndexFolder(folder).manifest, about)
        (folder / README).write_text(page, encoding="utf-8")
        message = f"Index of {index.manifest.documents} documents, {index.manifest.bytes_per_document:g} bytes each"
        with _explained(OutputError, f"{repo} cannot be written"):
            api.create_repo(repo, private=private or None, exist_ok=True)
            sent = api.upload_folder(
                repo_id=repo, folder_path=folder, commit_message=message, delete_patterns=_REPLACED
            )
    return str(sent.commit_url)


def pull(
    repo: str,
    output: Path,
    *,
    revision: str | None = None,
    overwrite: bool = False,
    token: str | None = None,
    endpoint: str | None = None,
) -> Path:
    """Fetch an index from the hub; the same call resumes an interrupted one.

    Parameters
    ----------
    repo
        `OWNER/NAME`.
    output
        The index folder to write.
    revision
        Branch, tag or commit; the main branch by default.
    overwrite
        Replace an existing index.
    token, endpoint
        As in `push`.

    Returns
    -------
    pathlib.Path
        The output.

    Raises
    ------
    DownloadError
        If the repository holds no index, a file is not the one that the hub lists, or fetching fails.
    IndexFolderError
        If files do not match `jpq.json`.
    OutputError
        If `output` exists and `overwrite` is false.
    """
    refuse_existing(output, overwrite, MANIFEST)
    api = _api(token, endpoint)
    # One folder for all attempts: what is there already, even half a file, is not fetched again.
    partial = output.with_name(f".{output.name}.from-hub")
    with exclusive(output):
        with _explained(DownloadError, f"{repo} cannot be fetched"):
            commit = str(api.repo_info(repo, revision=revision).sha)
            files = _listed(api, repo, commit)
        _remove_others(partial, files)
        for name in sorted(files, key=lambda name: (name != MANIFEST, name)):
            with _explained(DownloadError, f"{repo}: {name} cannot be fetched"):
                api.hf_hub_download(repo, name, revision=commit, local_dir=partial)
            _check(partial / name, files[name], repo)
        remove(partial / _CACHE)
        IndexFolder(partial, verify=True)
        move_into_place(partial, output)
        keep_blocks(IndexFolder(output), True)
    return output


def _api(token: str | None, endpoint: str | None) -> "HfApi":
    from huggingface_hub import HfApi

    return HfApi(endpoint=endpoint, token=token, library_name="pyserini_jpq")


def _listed(api: "HfApi", repo: str, commit: str) -> "dict[str, RepoFile]":
    """Return the files of an index in a repository."""
    from huggingface_hub.hf_api import RepoFile

    tree = api.list_repo_tree(repo, recursive=True, revision=commit)
    files = {file.path: file for file in tree if isinstance(file, RepoFile) and is_allowed(file.path)}
    if MANIFEST not in files:
        raise DownloadError(f"{repo} holds no index: it has no {MANIFEST}")
    return files


def _remove_others(partial: Path, files: "dict[str, RepoFile]") -> None:
    """Remove what an interrupted call fetched of another version, and what it made."""
    for path in [path for path in partial.rglob("*") if path.is_file()]:
        name = path.relative_to(partial).as_posix()
        if name not in files and not name.startswith(f"{_CACHE}/"):
            path.unlink()


def _check(path: Path, listed: "RepoFile", repo: str) -> None:
    """Compare a file with its hash: the hub lists SHA-256 of large files, and git's hash of others."""
    found: str = sha256_of(path) if listed.lfs else _git_sha1(path)
    expected = listed.lfs.sha256 if listed.lfs else listed.blob_id
    if found != expected:
        path.unlink()
        raise DownloadError(f"{repo}: {listed.path} is not the file that the hub lists; fetch it again")


def _git_sha1(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


@contextlib.contextmanager
def _explained(error: type[JPQError], what: str) -> Iterator[Any]:
    """Raise an error of ours for whatever the hub's client raises: HTTP, network, a wrong name."""
    try:
        yield
    except JPQError:
        raise
    except Exception as problem:
        raise error(f"{what}: {first_line(problem)}") from problem


def split_revision(name: str) -> tuple[str, str | None]:
    """Return repository and revision of `OWNER/NAME` or `OWNER/NAME@REVISION`."""
    repo, at, revision = name.partition("@")
    if repo.count("/") != 1 or (at and not revision):
        raise ConversionError(f"{name!r} is no repository of the hub; give OWNER/NAME or OWNER/NAME@REVISION")
    return repo, revision or None
