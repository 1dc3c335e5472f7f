"""The exceptions for users: each message is one line that says what is wrong, where, and what to do."""

import re
from collections.abc import Iterator

_BREAKS = re.compile(r"\s*[\x00-\x1f\x7f-\x9f\u2028\u2029]+\s*")


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception, then its cause or context, and so on."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def how_to_install(extra: str) -> str:
    """Return the command that installs an extra of this package, from a checkout or a wheel: no registry has it."""
    return f"`pip install -e '.[{extra}]'` in the checkout of pyserini_jpq, or `pip install 'FILE.whl[{extra}]'`"


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, or its type if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def one_line(text: str) -> str:
    """Return a message without line breaks and other control characters, which names of files can hold, too."""
    return _BREAKS.sub(" ", text).strip()


def message_of(error: BaseException) -> str:
    """Return an exception's message as one line, or its type if it has none."""
    return one_line(str(error)) or type(error).__name__


class JPQError(Exception):
    """The request or its input is wrong; commands print the message and exit with status 2."""

    def __str__(self) -> str:
        """Return the message as one line, whatever other libraries and names of files have put into it."""
        return one_line(super().__str__())


class CollectionError(JPQError):
    """A collection cannot be read: no documents, a malformed line, a bad or repeated docid, a document without text."""


class TopicsError(JPQError):
    """Topics or qrels cannot be used: missing, empty, malformed, or unknown."""


class RunError(JPQError):
    """A run file cannot be evaluated."""


class DownloadError(JPQError):
    """A file cannot be downloaded, is not the published one, or its archive is unsafe to unpack."""


class EncoderError(JPQError):
    """An encoder cannot be loaded, or is not the one that an index was trained with."""


class EmbeddingsError(JPQError):
    """A folder of embeddings is incomplete, inconsistent, or has values that are not finite."""


class QuantizerError(JPQError):
    """A product quantizer cannot be built or used with these shapes or values."""


class IndexFolderError(JPQError):
    """An index folder is incomplete, damaged, or of an unknown version."""


class ConversionError(JPQError):
    """A file of another format cannot be converted: unknown, damaged, unsafe, or without a counterpart in ours."""


class OutputError(JPQError):
    """An output exists already, or cannot be written."""


class TrainingError(JPQError):
    """Training cannot start or go on."""


class ExperimentError(JPQError):
    """An experiment does not exist, or cannot be run as described."""


class InstallationError(JPQError):
    """Java or a package is missing, or its version does not work."""
