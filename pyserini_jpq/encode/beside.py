"""Files of an encoder, in a folder or on the Hugging Face hub."""

from pathlib import Path
from typing import Any

from pyserini_jpq.errors import EncoderError
from pyserini_jpq.trust.plain import NotPlain, read_json


class Files:
    """Files beside each other.

    Parameters
    ----------
    location
        A folder, or a name of the hub.
    local
        Fetch nothing: what is not in the cache of the hub is not there.

    Attributes
    ----------
    is_reached : bool
        Whether the hub answered, or had not to: else a file that is not found may be there all the same.
    """

    def __init__(self, location: str, local: bool = False) -> None:
        self._location, self._local, self.is_reached = location, local, True

    def named(self, name: str) -> str:
        """Return how a file is called in errors."""
        return f"{self._location.rstrip('/')}/{name}"

    def path(self, name: str) -> Path | None:
        """Return where a file lies, fetched where that is allowed; None if there is none."""
        if Path(self._location).is_dir():
            path = Path(self._location) / name
            return path if path.is_file() else None
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        try:
            return Path(hf_hub_download(self._location, name, local_files_only=self._local))
        except LocalEntryNotFoundError:
            self.is_reached = False
        except (OSError, ValueError):
            pass  # there is no such repository, or it has no such file
        return None

    def json(self, name: str) -> Any:
        """Return the value of a JSON file; None if there is none.

        Raises
        ------
        EncoderError
            If it is no JSON of settings.
        """
        path = self.path(name)
        try:
            return read_json(path) if path else None
        except NotPlain as problem:
            raise EncoderError(f"{path} is {problem}; copy the encoder again") from None
