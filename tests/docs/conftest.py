"""The folder that a reader of the docs stands in: a tiny collection, encoder, topics and qrels by the docs' names."""

import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
import yaml

from tests.conftest import cards_of, make_encoder
from tests.docs.blocks import run_command

DIMENSION = 384
WAY = (
    "python -m pyserini_jpq.encode --corpus collections/X --encoder all-minilm-l6-v2 --output embeddings/X",
    "python -m pyserini_jpq.index --embeddings embeddings/X --m 24 --output indexes/X.opq-m24",
    "python -m pyserini_jpq.train --index indexes/X.opq-m24 --topics train.tsv --qrels train.qrels.txt --epochs 1"
    " --output indexes/X.jpq-m24 --output-encoder encoders/X.jpq-m24",
    "python -m pyserini_jpq.search --index indexes/X.jpq-m24 --topics test.tsv --output runs/run.X.txt",
)
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="package", autouse=True)
def few_rounds():
    """Train rotations for two rounds, not fifty: what is tested is that the docs' commands run."""
    from pyserini_jpq.index.opq import train_opq

    before = train_opq.__defaults__
    train_opq.__defaults__ = (2, *before[1:])
    yield
    train_opq.__defaults__ = before


@pytest.fixture(scope="package")
def bare(tiny_collection, tmp_path_factory):
    """What a reader has before the first command; nothing is encoded yet."""
    folder = tmp_path_factory.mktemp("docs")
    for name in ("X", "Y", "X.more"):
        (folder / "collections" / name).mkdir(parents=True)
    documents = (tiny_collection / "documents.jsonl").read_text()
    (folder / "collections" / "X" / "documents.jsonl").write_text(documents)
    for name, prefix in (("Y", "y"), ("X.more", "more")):
        text = documents.replace('"id": "d', f'"id": "{prefix}')
        (folder / "collections" / name / "documents.jsonl").write_text(text)
    for part, source in (("train", "train"), ("dev", "dev"), ("test", "dev")):
        shutil.copy(tiny_collection / f"topics.{source}.tsv", folder / f"{part}.tsv")
        shutil.copy(tiny_collection / f"qrels.{source}.txt", folder / f"{part}.qrels.txt")
    contents = [
        json.dumps({"id": document["id"], "contents": f"{document['title']} {document['text']}"})
        for document in map(json.loads, documents.splitlines())
    ]
    (folder / "collections" / "X.lucene").mkdir()
    (folder / "collections" / "X.lucene" / "documents.jsonl").write_text("\n".join(contents))
    lines = [f"{document['id']}\t{document['text']}\n" for document in map(json.loads, documents.splitlines())]
    (folder / "collection.tsv").write_text("".join(lines))
    (folder / "gone.txt").write_text("d3\nd4\n")
    (folder / "encoders").mkdir()
    make_encoder(folder / "encoders" / "tiny", dimension=DIMENSION)
    model = shutil.copytree(folder / "encoders" / "tiny", folder / "models" / "my-encoder")  # of sentence-transformers
    kinds = (("", "Transformer"), ("1_Pooling", "Pooling"))
    modules = [
        {"idx": i, "path": path, "type": f"sentence_transformers.models.{kind}"} for i, (path, kind) in enumerate(kinds)
    ]
    (model / "modules.json").write_text(json.dumps(modules))
    (model / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": DIMENSION, "pooling_mode_mean_tokens": True}
    (model / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    card = yaml.safe_load(cards_of("encoders")["all-minilm-l6-v2"].read_text())
    card |= {"backbone": "encoders/tiny", "package": None, "sha256": {}}
    (folder / "encoders" / "all-minilm-l6-v2.yaml").write_text(yaml.safe_dump(card))
    return folder


@pytest.fixture(scope="package")
def published(tmp_path_factory):
    """An index and an encoder as the authors of JPQ publish them, and documents encoded by pyserini."""
    import faiss
    import numpy as np

    from tests.convert.authors import (
        authors_index,
        robertadot_weights,
        train_as_authors,
        write_checkpoint,
        write_tokenizer,
    )

    folder = tmp_path_factory.mktemp("published")
    vectors = np.random.default_rng(0).normal(size=(300, DIMENSION)).astype(np.float32)
    index = authors_index(vectors[:, :96].copy(), 96)
    train_as_authors(index, 96)
    faiss.write_index(index, str(folder / "OPQ96,IVF1,PQ96x8.index"))
    sizes = {"hidden_size": 96, "intermediate_size": 192}
    write_tokenizer(write_checkpoint(folder / "m96", robertadot_weights(hidden=96), **sizes))
    with open(folder / "pid2offset.pickle", "wb") as file:
        pickle.dump({1000 + row: row for row in range(300)}, file)
    (folder / "vectors").mkdir()
    lines = [json.dumps({"id": f"d{row}", "vector": vector.tolist()}) for row, vector in enumerate(vectors)]
    (folder / "vectors" / "vectors.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="package")
def names(tiny_collection):
    """What the Python of the docs takes as given: ids and texts, queries and their labels."""
    lines = (tiny_collection / "documents.jsonl").read_text().splitlines()
    documents = [json.loads(line) for line in lines]
    texts = [f"{document['title']} {document['text']}" for document in documents]
    return {
        "ids": [document["id"] for document in documents],
        "texts": texts,
        "queries": {f"q{i}": " ".join(texts[i].split()[:4]) for i in range(40)},
        "labels": {f"q{i}": {f"d{i}": 1} for i in range(40)},
        "more_ids": ["more1", "more2"],
        "more_texts": texts[:2],
    }


@pytest.fixture(scope="package")
def made(bare, tmp_path_factory):
    """The folder after the commands of the README: embeddings, both indexes, the encoder, runs."""
    folder = tmp_path_factory.mktemp("made")
    shutil.copytree(bare, folder, dirs_exist_ok=True)
    before = Path.cwd()
    os.chdir(folder)
    try:
        for words in WAY:
            assert run_command(words.split()) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Stand in a folder of the test's own, with the threads and the environment as they were afterwards."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    os.chdir(ROOT)
