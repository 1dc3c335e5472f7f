"""What training leaves: an encoder folder, and an index folder with the codes as before and the centroids trained."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

from pyserini_jpq.encode.source import EncoderSource
from pyserini_jpq.files import new_folder, save_array
from pyserini_jpq.index.blocks import write_blocks
from pyserini_jpq.index.encoders import entry_for
from pyserini_jpq.index.faiss_format import from_faiss, pack, to_faiss, write_faiss
from pyserini_jpq.index.folder import BLOCKS, DOCID, INDEX, INITIAL_CENTROIDS, IndexFolder, seen_from, write_manifest
from pyserini_jpq.train.lora import merge_lora
from pyserini_jpq.train.model import JPQModel


def write_encoder(model: JPQModel, output: Path, overwrite: bool) -> EncoderSource:
    """Write the query encoder as a folder that transformers, and `JPQQueryEncoder`, open."""
    merge_lora(model.encoder)
    card = dataclasses.replace(
        model.encoder.card,
        backbone=".",
        tokenizer=None,
        package=None,
        sha256={},
        description=f"JPQ query encoder; trained from {model.encoder.card.backbone}",
    )
    with new_folder(output, overwrite) as folder:
        model.encoder.save(folder, card)
    return EncoderSource(output.name, card, output)


def write_index(
    source: IndexFolder,
    model: JPQModel,
    encoder: EncoderSource,
    training: dict[str, Any],
    log: Path | None,
    output: Path,
    overwrite: bool,
) -> None:
    """Write the index folder: codes, docids and initial centroids of the source, the centroids as trained, the log."""
    whole = source.read()
    _, codes = from_faiss(whole, source.path)
    embeddings = source.embeddings()
    manifest = dataclasses.replace(
        source.manifest,
        query_encoder=entry_for(encoder, model.encoder.weights_sha256(), output),
        training=training,
        embeddings=seen_from(output, embeddings) if embeddings else None,
    )
    with new_folder(output, overwrite) as folder:
        write_faiss(to_faiss(model.quantizer(), codes), folder / INDEX)
        shutil.copyfile(source.path / DOCID, folder / DOCID)
        save_array(folder / INITIAL_CENTROIDS, source.initial_centroids())
        if log and log.is_file():
            shutil.copyfile(log, folder / log.name)
        if source.blocks:
            write_blocks(folder / BLOCKS, pack(codes, source.manifest.bits))
        write_manifest(folder, manifest)
