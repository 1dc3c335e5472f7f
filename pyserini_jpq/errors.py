"""The exceptions a user can meet: each carries one line that says what is wrong, where, and what to do."""

from collections.abc import Iterator


def causes(error: BaseException) -> Iterator[BaseException]:
    """Give an exception, then the one that it was raised from or during whose handling it arose, and so on."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def how_to_install(extra: str) -> str:
    """Return the command that installs an extra of this package, from a checkout or a wheel: no registry has it."""
    return f"`pip install -e '.[{extra}]'` in the checkout of pyserini_jpq, or `pip install 'FILE.whl[{extra}]'`"


class JPQError(Exception):
    """The request or its input is wrong; the command line prints the message alone and exits with status 2."""


class CollectionError(JPQError):
    """A collection cannot be read: no documents, a bad line, a bad or repeated docid, a document without text."""


class TopicsError(JPQError):
    """Topics or qrels cannot be used: missing, empty, malformed, or naming nothing that is known."""


class RunError(JPQError):
    """A run file cannot be evaluated."""


class DownloadError(JPQError):
    """A file cannot be fetched, is not the published one, or its archive is not safe to unpack."""


class EncoderError(JPQError):
    """An encoder cannot be loaded, or is not the one that an index was trained with."""


class EmbeddingsError(JPQError):
    """A folder of embeddings is incomplete, inconsistent, or holds values that are not finite."""


class QuantizerError(JPQError):
    """A product quantizer cannot be built or used with these shapes or values."""


class IndexFolderError(JPQError):
    """An index folder is incomplete, damaged, or of an unknown version."""


class ConversionError(JPQError):
    """A file of another format cannot be converted: unknown, damaged, unsafe, or not to be had in ours."""


class OutputError(JPQError):
    """An output exists already, or cannot be written."""


class TrainingError(JPQError):
    """Training cannot start or go on."""


class ExperimentError(JPQError):
    """An experiment is not there, or cannot be run as it is described."""


class InstallationError(JPQError):
    """Java or a package is missing or of a version that does not work."""
