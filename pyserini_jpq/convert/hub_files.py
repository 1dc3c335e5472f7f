"""The files of an index on the Hugging Face hub: which may be there, and how they are prepared to be sent."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from pyserini_jpq.cards import ENCODER_FOLDER_CARD
from pyserini_jpq.encode.source import EncoderSource
from pyserini_jpq.errors import ConversionError
from pyserini_jpq.files import link_or_copy
from pyserini_jpq.index.encoders import query_encoder_source
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.index.manifest import BLOCKS, DOCUMENT_MAP, FILES, MANIFEST, is_text_file, write_fields

ENCODER = "encoder"
"""The folder of the query encoder, within that of the index."""
README = "README.md"

_ENCODER_FILES = re.compile(
    r"encoder\.yaml|model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json"
    r"|(config|config_sentence_transformers|modules|sentence_bert_config|tokenizer|tokenizer_config"
    r"|special_tokens_map|added_tokens|vocab)\.json|vocab\.txt|merges\.txt|chat_template\.jinja"
    r"|(spiece|tokenizer|sentencepiece\.bpe)\.model|\d_\w{1,32}/(config\.json|model\.safetensors)"
)


def is_allowed(path: str) -> bool:
    """Return whether a file of a repository is one of an index; no other is fetched, and none of them is a pickle."""
    head, _, inner = path.partition("/")
    if head == ENCODER and inner:
        return bool(_ENCODER_FILES.fullmatch(inner))
    return path in (MANIFEST, README, DOCUMENT_MAP, *FILES) or is_text_file(path)


def prepare(index: IndexFolder, folder: Path) -> None:
    """Link or copy what is sent: the index, its texts, and a query encoder that is not a public one.

    Left out are blocks, which are made of the codes again, and everything that names places of this machine.
    """
    manifest = index.manifest
    names = [name for name in manifest.files if name != BLOCKS]
    for name in names:
        if not is_allowed(name):
            raise ConversionError(f"{index.path} holds {name!r}, which is no file of an index; remove it")
        link_or_copy(index.path / name, folder / name)
    query = manifest.query_encoder
    entry = _without_places(query)
    source = query_encoder_source(index)
    if source.folder is not None or Path(source.card.backbone).is_dir():
        entry = {**entry, "card": _save_encoder(source, folder / ENCODER), "folder": ENCODER}
    same = query["sha256"] == manifest.document_encoder["sha256"]
    document = entry if same else _without_places(manifest.document_encoder)
    files = {name: manifest.files[name] for name in names}
    sent = replace(manifest, query_encoder=entry, document_encoder=document, embeddings=None, files=files)
    write_fields(folder, sent)


def _save_encoder(source: EncoderSource, folder: Path) -> dict[str, Any]:
    """Write an encoder as training writes it, and return its card."""
    folder.mkdir()
    description = _named(source.card.description)
    card = replace(source.card, backbone=".", tokenizer=None, package=None, sha256={}, description=description)
    if source.folder is None:
        source.load().save(folder, card)
        return card.as_dict()
    for file in (path for path in source.folder.rglob("*") if path.is_file()):
        path = folder / file.relative_to(source.folder)
        if _ENCODER_FILES.fullmatch(path.relative_to(folder).as_posix()):
            path.parent.mkdir(exist_ok=True)
            link_or_copy(file, path)
    (folder / ENCODER_FOLDER_CARD).unlink()  # it may be a link to the encoder's own
    text = yaml.safe_dump(card.as_dict(), sort_keys=False, allow_unicode=True)
    (folder / ENCODER_FOLDER_CARD).write_text(text, encoding="utf-8")
    return card.as_dict()


def _without_places(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an encoder's entry without folders of this machine, of which the last name stays."""
    if entry["card"] is None:
        return {**entry, "folder": None}
    card = dict(entry["card"])
    for name in ("backbone", "tokenizer", "description"):
        if card.get(name):
            card[name] = _named(card[name])
    return {**entry, "card": card, "folder": None}


def _named(text: str) -> str:
    return re.sub(r"(?<!\S)(/|~|\.\.?/)\S*", lambda match: Path(match[0]).name, text)
