"""An index to and from the Hugging Face hub."""

from pathlib import Path
from typing import Any, Self

from pyserini_jpq.convert.hub import pull, push, split_revision
from pyserini_jpq.index.opening import open_folder
from pyserini_jpq.paths import INDEXES


class Sharing:
    """The methods of `Index` that send and fetch one."""

    path: Path

    def __init__(self, path: str | Path, **options: Any) -> None:
        """Open an index; see `Index`."""

    def push_to_hub(
        self,
        repo: str,
        *,
        private: bool = False,
        about: str = "",
        token: str | None = None,
        endpoint: str | None = None,
    ) -> str:
        """Send the index and its query encoder to a model repository of the Hugging Face hub; see `convert.hub.push`.

        Parameters
        ----------
        repo
            `OWNER/NAME`; made if it does not exist.
        private
            Make it as a private one.
        about
            Markdown for the model card: data and figures that the index does not know.
        token, endpoint
            Token and address of the hub; by default those of the environment.

        Returns
        -------
        str
            The address of the commit.
        """
        return push(open_folder(self.path), repo, private=private, about=about, token=token, endpoint=endpoint)

    @classmethod
    def from_hub(
        cls,
        repo: str,
        path: str | Path | None = None,
        *,
        overwrite: bool = False,
        token: str | None = None,
        endpoint: str | None = None,
        **options: Any,
    ) -> Self:
        """Fetch an index from the Hugging Face hub, and open it; the same call resumes an interrupted one.

        Parameters
        ----------
        repo
            `OWNER/NAME`, or `OWNER/NAME@REVISION`.
        path
            The index folder to write, by default `indexes/NAME`. From then on `Index(path)` opens it without a network.
        overwrite
            Replace an existing index.
        token, endpoint
            As in `push_to_hub`.
        **options
            As in `Index`.

        Returns
        -------
        Index
            The opened index.

        Raises
        ------
        DownloadError
            If the repository holds no index, a file is not the one that the hub lists, or fetching fails.
        """
        name, revision = split_revision(repo)
        output = Path(path) if path is not None else INDEXES / name.rpartition("/")[2]
        pull(name, output, revision=revision, overwrite=overwrite, token=token, endpoint=endpoint)
        return cls(output, **options)
