"""The cards in `encoders/`, `indexes/` and `collections/`: small YAML files that describe one of each by name."""

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyserini_jpq.errors import CollectionError, EncoderError, IndexFolderError, JPQError
from pyserini_jpq.trust.fields import is_sha256
from pyserini_jpq.trust.places import is_plain_name
from pyserini_jpq.trust.plain import read_yaml

ENCODER_FOLDER_CARD = "encoder.yaml"
POOLINGS = ("cls", "mean", "last", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens")
"""The last three are named as sentence-transformers names them; a card may join several by `+`."""

ARCHITECTURES = ("auto", "ance")
_LATER = ("subfolder", "head", "include_prompt", "lower_case", "truncate_dim", "matryoshka")
TOKENIZER_OPTIONS = {
    **dict.fromkeys(("do_lower_case", "add_prefix_space", "use_fast", "strip_accents", "tokenize_chinese_chars"), bool),
    **dict.fromkeys(("do_basic_tokenize", "trim_offsets", "legacy", "add_bos_token", "add_eos_token"), bool),
    **dict.fromkeys(("padding_side", "truncation_side"), str),
    "model_max_length": int,
}
"""Options of a tokenizer that a card may give, with their types; none names a file or lets code of others run."""


@dataclass(frozen=True)
class TextSide:
    """How one side (queries or documents) becomes tokens.

    Attributes
    ----------
    prefix
        Put in front of every text, spaces included.
    max_length
        Most tokens kept, special ones included.
    special_tokens
        Whether the tokenizer adds its own special tokens.
    mask_padding
        Whether texts are filled up to `max_length` with mask tokens that are attended to (TCT-ColBERT queries).
    template
        How the fields of a document are joined; a field that is empty goes with the separator beside it.
    """

    prefix: str = ""
    max_length: int = 256
    special_tokens: bool = True
    mask_padding: bool = False
    template: str = "{title} {text}"


@dataclass(frozen=True)
class EncoderCard:
    """What has to be known to use the weights of an encoder as its authors do; one YAML file in `encoders/`.

    Attributes
    ----------
    subfolder
        The folder, within that of the weights, that transformer and tokenizer lie in.
    head
        Folders beside the transformer that hold dense layers and layer norms, in order, with a space between them.
    include_prompt
        Whether the tokens of a prefix count in pooling.
    lower_case
        Whether texts are lower-cased whatever the tokenizer does.
    truncate_dim
        How many leading dimensions are kept (Matryoshka), before vectors get unit length.
    matryoshka
        To which numbers of dimensions the encoder was trained to be cut, in words.
    """

    backbone: str
    description: str = ""
    source: str | None = None
    license: str | None = None
    paper: str | None = None
    weights: str | None = None
    architecture: str = "auto"
    tokenizer: str | None = None
    tokenizer_class: str | None = None
    tokenizer_options: Mapping[str, Any] = field(default_factory=dict)
    package: str | None = None
    dimension: int | None = None
    pooling: str = "cls"
    normalize: bool = False
    score_scale: float | None = None
    skip_tokens: int = 0
    query: TextSide = field(default_factory=TextSide)
    document: TextSide = field(default_factory=TextSide)
    sha256: Mapping[str, str] = field(default_factory=dict)
    notes: str | None = None
    subfolder: str = ""
    head: str = ""
    include_prompt: bool = True
    lower_case: bool = False
    truncate_dim: int | None = None
    matryoshka: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the card as plain values, as it is written to YAML and JSON.

        Fields that came later are left out where they say nothing, so that older versions read such cards, too.
        """
        unsaid = {f.name for f in dataclasses.fields(self) if f.name in _LATER and getattr(self, f.name) == f.default}
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in unsaid}

    @property
    def training_scale(self) -> float:
        """What scores are multiplied by in the training loss.

        Inner products of unit-length embeddings lie within a few hundredths of each other, far too close for a
        logistic loss; 20 (a temperature of .05) is what such encoders are themselves trained with.
        """
        if self.score_scale is not None:
            return self.score_scale
        return 20.0 if self.normalize else 1.0


@dataclass(frozen=True)
class IndexCard:
    """What is known of an index by name; one YAML file in `indexes/`.

    Attributes
    ----------
    collection, encoder
        Names of its collection and of the encoder of its documents.
    m, bits, documents
        Subspaces, bits of a code, and number of documents.
    downloads
        Addresses of a published index: `index` (a faiss file), `query_encoder` (an archive), and `docids` where they
        are not the rows of the collection.
    recipe
        How it is trained from the OPQ index of the same name; empty for an OPQ index.
    checksums
        `sha256:…` or `md5:…` by what is downloaded, as published.
    expected
        Scores as published, by topics and metric ("dev RR@10").
    """

    collection: str
    encoder: str
    m: int
    bits: int = 8
    description: str = ""
    documents: int | None = None
    source: str | None = None
    downloads: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    checksums: Mapping[str, str] = field(default_factory=dict)
    expected: Mapping[str, Any] = field(default_factory=dict)
    notes: str | None = None


@dataclass(frozen=True)
class CollectionCard:
    """What is known of a collection by name; one YAML file in `collections/`.

    Attributes
    ----------
    corpus
        The documents: a file or folder within `collections/NAME/`.
    downloads
        Addresses of its files, by what they are, one each or several of the same file; archives are unpacked.
    checksums
        `sha256:…` or `md5:…` by file name, as published.
    within
        The folder inside the archives that holds the collection.
    shared
        A name under `downloads/` where several collections share a file; the collection's own by default.
    topics, qrels
        Files within `collections/NAME/`, by the names that they have beside those that Pyserini knows.
    by_hand
        How to get a collection that cannot be published.
    """

    corpus: str
    description: str = ""
    source: str | None = None
    license: str | None = None
    documents: int | None = None
    downloads: Mapping[str, Any] = field(default_factory=dict)
    checksums: Mapping[str, str] = field(default_factory=dict)
    within: str = ""
    shared: str | None = None
    topics: Mapping[str, str] = field(default_factory=dict)
    qrels: Mapping[str, str] = field(default_factory=dict)
    by_hand: str | None = None
    notes: str | None = None


def encoder_card(name: str) -> EncoderCard:
    """Read the encoder card of that name.

    Raises
    ------
    EncoderError
        If there is no such card, or it cannot be used.
    """
    return read_encoder_card(_find_card("encoders", name, EncoderError))


def index_card(name: str) -> IndexCard:
    """Read the index card of that name; raises IndexFolderError as `encoder_card` does."""
    path = _find_card("indexes", name, IndexFolderError)
    return IndexCard(**checked_fields(IndexCard, read_yaml(path, IndexFolderError), str(path), IndexFolderError))


def collection_card(name: str) -> CollectionCard:
    """Read the collection card of that name; raises CollectionError as `encoder_card` does."""
    path = _find_card("collections", name, CollectionError)
    values = read_yaml(path, CollectionError)
    return CollectionCard(**checked_fields(CollectionCard, values, str(path), CollectionError))


def has_card(kind: str, name: str) -> bool:
    """Tell whether `kind` ("encoders", "indexes" or "collections") has a card of that name."""
    return name in _cards(kind)


def card_names(kind: str) -> list[str]:
    """Return the names of all cards of a kind, in order."""
    return sorted(_cards(kind))


def read_encoder_card(path: Path) -> EncoderCard:
    """Read and check an encoder card from a YAML file."""
    return parse_encoder_card(read_yaml(path, EncoderError), str(path))


def parse_encoder_card(values: Mapping[str, Any], where: str) -> EncoderCard:
    """Make a card of plain values, as a YAML card or a JSON manifest holds them.

    Parameters
    ----------
    values
        The fields of the card; `query` and `document` are mappings.
    where
        The file they come from, for errors.
    """
    fields = checked_fields(EncoderCard, values, where, EncoderError)
    for side in ("query", "document"):
        if side in fields:
            fields[side] = TextSide(**checked_fields(TextSide, fields[side] or {}, f"{where}: {side}", EncoderError))
    card = EncoderCard(**fields)
    if not all(mode in POOLINGS for mode in card.pooling.split("+")):
        raise EncoderError(f"{where}: pooling {card.pooling!r} is not one of {', '.join(POOLINGS)}")
    for name in (*card.head.split(), *filter(None, [card.subfolder])):
        if not is_plain_name(name):
            raise EncoderError(f"{where}: {name!r} is no folder beside the weights")
    if card.truncate_dim is not None and card.truncate_dim < 1:
        raise EncoderError(f"{where}: truncate_dim must be at least 1, not {card.truncate_dim}")
    for name, value in card.sha256.items():
        if not isinstance(name, str) or not is_plain_name(name) or not is_sha256(value):
            raise EncoderError(f"{where}: sha256 takes names of files and 64 hexadecimal digits, not {name}: {value!r}")
    for name, value in card.tokenizer_options.items():
        if type(value) is not TOKENIZER_OPTIONS.get(name):
            known = ", ".join(TOKENIZER_OPTIONS)
            raise EncoderError(f"{where}: tokenizer_options may not hold {name}: {value!r}; it takes {known}")
    if card.architecture not in ARCHITECTURES:
        raise EncoderError(f"{where}: architecture {card.architecture!r} is not one of {', '.join(ARCHITECTURES)}")
    for side_name, text_side in (("query", card.query), ("document", card.document)):
        if text_side.max_length < 1:
            raise EncoderError(f"{where}: {side_name}.max_length must be at least 1, not {text_side.max_length}")
    return card


def _card_folders(kind: str) -> list[Path]:
    """Where cards of a kind lie: the folder one works in, a checkout of ours, the installed package."""
    package = Path(__file__).resolve().parent
    return [Path(kind), package.parent / kind, package / "cards" / kind]


def _cards(kind: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in _card_folders(kind):
        for path in sorted(folder.glob("*.yaml")):
            found.setdefault(path.stem, path)
    return found


def _find_card(kind: str, name: str, error: type[JPQError]) -> Path:
    cards = _cards(kind)
    if name in cards:
        return cards[name]
    close = difflib.get_close_matches(name, cards, n=1)
    hint = f"did you mean {close[0]}?" if close else f"cards: {', '.join(cards) or 'none'}"
    raise error(f"{name!r} is neither a folder nor a card in {kind}/; {hint}")


def checked_fields(kind: type, values: Mapping[str, Any], where: str, error: type[JPQError]) -> dict[str, Any]:
    """Check names and types of the fields of a card against its dataclass; all that is wrong in one line."""
    if not isinstance(values, Mapping):
        raise error(f"{where}: expected fields and values, not {values!r}")
    known = {f.name: f for f in dataclasses.fields(kind)}
    wrong = [f"unknown field {name!r}" for name in values if name not in known]
    for name, f in known.items():
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and name not in values:
            wrong.append(f"field {name!r} is missing")
        if name in values and not _fits(values[name], str(f.type)):
            wrong.append(f"{name}: {values[name]!r} is not {f.type}")
    if wrong:
        raise error(f"{where}: {'; '.join(wrong)}")
    return dict(values)


def _fits(value: Any, annotation: str) -> bool:
    """Tell whether a value from YAML fits a field's annotation, read off by its plain-type words."""
    if value is None:
        return "None" in annotation or annotation.startswith("<class 'pyserini_jpq")
    outermost = annotation.partition("[")[0]
    if isinstance(value, bool):
        return "bool" in outermost
    if isinstance(value, int):
        return "int" in outermost or "float" in outermost
    if isinstance(value, float):
        return "float" in outermost
    if isinstance(value, str):
        return annotation.startswith(("str", "<class 'str'"))
    if isinstance(value, tuple):
        return annotation.startswith("tuple")
    return isinstance(value, Mapping) and ("Mapping" in annotation or "TextSide" in annotation)
