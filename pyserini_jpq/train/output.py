"""The outputs of training: an encoder folder, and an index folder with the old codes and the trained centroids."""

import dataclasses
import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyserini_jpq.cards import ENCODER_FOLDER_CARD, read_encoder_card
from pyserini_jpq.encode.source import EncoderSource
from pyserini_jpq.errors import OutputError
from pyserini_jpq.files import new_folder, refuse_existing, save_array, sha256_of, write_text_atomically
from pyserini_jpq.index.blocks import write_blocks
from pyserini_jpq.index.faiss_format import pack, to_faiss
from pyserini_jpq.index.faiss_io import write_faiss
from pyserini_jpq.index.manifest import (
    BLOCKS,
    DOCUMENT_MAP,
    INDEX,
    INITIAL_CENTROIDS,
    MANIFEST,
    TEXTS,
    VECTORS,
    write_manifest,
)
from pyserini_jpq.index.texts import write_texts
from pyserini_jpq.index.vectors import write_vectors
from pyserini_jpq.index.writing import write_docids
from pyserini_jpq.paths import ENCODERS
from pyserini_jpq.train.lora import merge_lora
from pyserini_jpq.train.model import JPQModel
from pyserini_jpq.train.source import SourceIndex
from pyserini_jpq.trust.places import seen_from

_WRITING = "writing"
_BLOCK = 16384


@dataclass(frozen=True)
class Outputs:
    """The folders that training writes: the index, its query encoder, and meanwhile the checkpoints."""

    index: Path
    encoder: Path
    overwrite: bool
    documents: bool = False
    """Whether there is a document encoder, too."""

    @classmethod
    def of(cls, index: Path, encoder: Path | None, overwrite: bool, documents: bool = False) -> "Outputs":
        """Return the output folders; the encoder's default is `encoders/NAME`."""
        return cls(index, encoder or ENCODERS / index.name, overwrite, documents)

    @property
    def training(self) -> Path:
        """The folder of checkpoints, beside the index until it is written."""
        return self.index.with_name(f".{self.index.name}.training")

    def check(self, source: Path, resume: bool) -> None:
        """Raise OutputError if an output is the source or the other output, or exists and may not be replaced."""
        if self.index.resolve() == source.resolve():
            raise OutputError(
                f"--output is --index ({self.index}); training starts from an index and leaves it as it is"
            )
        for path, flag in ((source, "--index"), (self.index, "--output")):
            if self.encoder.resolve() == path.resolve():
                raise OutputError(f"--output-encoder is {flag} ({path}); give the encoder a folder of its own")
        refuse_existing(self.index, self.overwrite, MANIFEST)
        for encoder in (self.encoder, *([self.document_encoder] if self.documents else [])):
            refuse_existing(encoder, self.replaces(encoder, resume), ENCODER_FOLDER_CARD)

    @property
    def document_encoder(self) -> Path:
        """The folder of the document encoder, where it is trained: beside the query encoder."""
        return self.encoder.with_name(f"{self.encoder.name}.documents")

    def holds_own_encoder(self) -> bool:
        """Return whether the encoder at the output is one that an interrupted call of this run wrote."""
        return self._is_own(self.encoder)

    def replaces(self, encoder: Path, resume: bool = True) -> bool:
        """Return whether what is at the place of an encoder may be replaced."""
        return self.overwrite or (resume and self._is_own(encoder))

    def _is_own(self, encoder: Path) -> bool:
        return encoder.is_dir() and _digest(encoder) in self._written()

    def note_encoder(self, folder: Path) -> None:
        """Note an encoder that is about to be moved to the output: from then on it is known as this run's."""
        lines = [*self._written(), _digest(folder), ""]
        write_text_atomically(self.training / _WRITING, "\n".join(lines))

    def _written(self) -> list[str]:
        mark = self.training / _WRITING
        return mark.read_text(encoding="utf-8").split() if mark.is_file() else []


def _digest(folder: Path) -> str:
    """Return the SHA-256 of the names and contents of a folder's files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{sha256_of(path)} {path.relative_to(folder).as_posix()}\n" for path in files]
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def write_encoder(model: JPQModel, outputs: Outputs) -> EncoderSource:
    """Write the query encoder as a folder for `transformers` and `JPQQueryEncoder`.

    Raises
    ------
    OutputError
        If another encoder is there, which may not be replaced.
    """
    output = outputs.encoder
    merge_lora(model.encoder)
    card = dataclasses.replace(
        model.encoder.card,
        backbone=".",
        tokenizer=None,
        package=None,
        sha256={},
        description=f"JPQ query encoder; trained from {model.encoder.card.backbone}",
    )
    with new_folder(output, outputs.replaces(output), ENCODER_FOLDER_CARD) as folder:
        model.encoder.save(folder, card)
        outputs.note_encoder(folder)
    return EncoderSource(output.name, card, output)


def write_document_encoder(source: SourceIndex, outputs: Outputs) -> dict[str, Any]:
    """Write the document encoder, if it was trained; return its entry for the manifest."""
    if source.encoded is None:
        return source.manifest.document_encoder
    output, trained = outputs.document_encoder, source.encoded.encoder
    with new_folder(output, outputs.replaces(output), ENCODER_FOLDER_CARD) as folder:
        shutil.copytree(source.encoded.folder.with_name("encoder"), folder, dirs_exist_ok=True)
        outputs.note_encoder(folder)
    card = read_encoder_card(output / ENCODER_FOLDER_CARD)
    return EncoderSource(output.name, card, output).entry(trained["sha256"], outputs.index)


def write_index(
    source: SourceIndex,
    model: JPQModel,
    encoder: EncoderSource,
    training: dict[str, Any],
    log: Path | None,
    outputs: Outputs,
    document_encoder: dict[str, Any],
) -> None:
    """Write the index folder: the source's codes, docids and initial centroids, the trained centroids, the log."""
    embeddings = source.folder.embeddings() if source.encoded is None else None
    manifest = dataclasses.replace(
        source.manifest,
        document_encoder=document_encoder,
        query_encoder=encoder.entry(model.encoder.weights_sha256(), outputs.index),
        training=training,
        embeddings=seen_from(outputs.index, embeddings) if embeddings else None,
        documents_mapped=source.document_map is not None,
    )
    with new_folder(outputs.index, outputs.overwrite, MANIFEST) as folder:
        write_faiss(to_faiss(model.quantizer(), source.codes), folder / INDEX)
        write_docids(folder, source.docids)
        save_array(folder / INITIAL_CENTROIDS, source.initial_centroids)
        if source.document_map is not None:
            save_array(folder / DOCUMENT_MAP, source.document_map)
        if log and log.is_file():
            shutil.copyfile(log, folder / log.name)
        if source.folder.blocks:
            write_blocks(folder / BLOCKS, pack(source.codes, source.manifest.bits))
        if source.texts is not None:
            write_texts(folder / TEXTS, source.texts.values())
        if (vectors := source.vectors) is not None:
            shape = manifest.documents, manifest.dimension
            blocks = vectors.records() if source.encoded is None else source.encoded.blocks(_BLOCK)
            write_vectors(folder / VECTORS, vectors.kind, *shape, blocks)
        write_manifest(folder, manifest)
