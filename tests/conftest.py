"""A tiny encoder and a tiny collection, built here, so that no test needs a network or a download."""

import json
import os
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

if "PYTEST_XDIST_WORKER" in os.environ:
    # One thread for each worker, set before anything loads OpenMP: teams of all workers would wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# No test depends on how busy the machine is.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

CHECKOUT = Path(__file__).parents[1]


def needs(*names: str) -> pytest.MarkDecorator:
    """Skip a test where files of the repository are not beside the tests, as where an installed wheel is tested."""
    missing = [name for name in names if not (CHECKOUT / name).exists()]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} of the repository not beside the tests")


def cards_of(kind: str) -> dict[str, Path]:
    """Return the cards by name: those of the repository or, where it is not here, those of the installed package."""
    import pyserini_jpq

    folders = (CHECKOUT / kind, Path(pyserini_jpq.__file__).parent / "cards" / kind)
    folder = next(folder for folder in folders if folder.is_dir())
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """Keep what is noted and kept between runs out of the home folder."""
    before = os.environ.get("PYSERINI_JPQ_CACHE")
    os.environ["PYSERINI_JPQ_CACHE"] = before or str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["PYSERINI_JPQ_CACHE"]


WORDS = [f"{a}{b}" for a in ("ba", "ke", "li", "mo", "nu", "ra", "se", "ti") for b in ("do", "fa", "gi", "ho", "ju")]


def roberta_tokenizer():
    """Make a byte-level tokenizer like RoBERTa's: special tokens, all bytes from 4 on, two merges, and the mask."""
    from tokenizers import pre_tokenizers
    from transformers import RobertaTokenizer

    # The letters that stand for bytes, in the order of the bytes: printable ones for themselves, others from 256 on.
    letters = {ord(c) for c in pre_tokenizers.ByteLevel.alphabet()} & set(range(256))
    others = iter(range(256, 512))
    vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}
    vocabulary |= {chr(b if b in letters else next(others)): 4 + b for b in range(256)}
    vocabulary |= {"Ġa": 260, "Ġab": 261, "<mask>": 262}
    return RobertaTokenizer(vocab=vocabulary, merges=[("Ġ", "a"), ("Ġa", "b")])


def make_encoder(
    folder: Path, dimension: int = 32, head: bool = False, seed: int = 0, tokenizer=None, dropout: float = 0.1
) -> Path:
    """Write a random transformer with a word-level tokenizer, or the one given, as transformers writes them."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, RobertaConfig

    torch.manual_seed(seed)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: i for i, word in enumerate(special + WORDS)}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = tokenizer or PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )
    sizes = {
        "vocab_size": len(fast),
        "hidden_size": dimension,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 2 * dimension,
        "max_position_embeddings": 64,
        "pad_token_id": fast.pad_token_id,
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
    }
    if head:
        from pyserini_jpq.encode.ance import AnceBackbone

        AnceBackbone(RobertaConfig(**sizes)).save_pretrained(folder)
    else:
        BertModel(BertConfig(**sizes), add_pooling_layer=False).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory):
    return make_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


@pytest.fixture(scope="session")
def tiny_collection(tmp_path_factory):
    """300 documents; every query is a handful of words of its one relevant document."""
    folder = tmp_path_factory.mktemp("collection")
    chance = random.Random(7)
    documents = [[chance.choice(WORDS) for _ in range(chance.randint(4, 12))] for _ in range(300)]
    with open(folder / "documents.jsonl", "w") as file:
        for i, words in enumerate(documents):
            file.write(json.dumps({"id": f"d{i}", "title": words[0], "text": " ".join(words[1:])}) + "\n")
    for part, numbers in (("train", range(0, 64)), ("dev", range(64, 80))):
        with open(folder / f"topics.{part}.tsv", "w") as topics, open(folder / f"qrels.{part}.txt", "w") as qrels:
            for i in numbers:
                topics.write(f"q{i}\t{' '.join(documents[i][:4])}\n")
                qrels.write(f"q{i} 0 d{i} 1\n")
    return folder


ENCODER = {"name": "tiny", "card": {"backbone": "nowhere/tiny"}, "sha256": "0" * 64}


def make_embeddings(folder: Path, vectors, docids, encoder=None, rows: int = 16384) -> Path:
    """Write a folder of embeddings, [N, D] float32, as encode writes it, so many rows a file."""
    import numpy as np

    from pyserini_jpq.encode.embeddings import MANIFEST, SCHEMA
    from pyserini_jpq.encode.row_files import row_file

    folder.mkdir(parents=True)
    manifest = {"schema": SCHEMA, "documents": len(vectors), "dimension": vectors.shape[1]}
    (folder / MANIFEST).write_text(json.dumps({**manifest, "encoder": encoder or ENCODER}))
    for start in range(0, len(vectors), rows):
        file = row_file(folder, start)
        np.save(file.npy, vectors[start : start + rows])
        file.docid.write_text("".join(f"{docid}\n" for docid in docids[start : start + rows]))
    return folder


def make_index(folder: Path, vectors, docids, m: int = 4, trained: bool = True, encoder=None) -> Path:
    """Write an index of vectors, [N, D] float32; `trained` moves centroids after assignment, as training does."""
    import faiss
    import numpy as np

    from pyserini_jpq.index.assign import Assigner
    from pyserini_jpq.index.faiss_format import to_faiss
    from pyserini_jpq.index.manifest import Manifest, write_manifest
    from pyserini_jpq.quantizer import ProductQuantizer

    rng = np.random.default_rng(0)
    d = vectors.shape[1]
    rotation = np.linalg.qr(rng.normal(size=(d, d)))[0].astype(np.float32)
    centroids = (vectors[:256] @ rotation.T).reshape(256, m, -1).transpose(1, 0, 2).copy()
    moved = centroids + rng.normal(scale=0.3 * trained, size=centroids.shape).astype(np.float32)
    codes = Assigner(ProductQuantizer(rotation, centroids)).assign(vectors)
    folder.mkdir(parents=True)
    faiss.write_index(to_faiss(ProductQuantizer(rotation, moved), codes), str(folder / "index"))
    np.save(folder / "initial_centroids.npy", centroids)
    (folder / "docid").write_text("".join(f"{docid}\n" for docid in docids))
    encoder = encoder or ENCODER
    write_manifest(folder, Manifest(len(vectors), d, m, 8, m, encoder, encoder, {} if trained else None))
    return folder


def run(module: str, *words: object) -> int:
    """Run a command of ours in this process and return its exit status."""
    import importlib

    from pyserini_jpq import cli

    main = importlib.import_module(f"pyserini_jpq.{module}.__main__").main
    try:
        return cli.run(main, [str(word) for word in words])
    except SystemExit as exit_:
        return int(exit_.code or 0)


ENCODER_FLAGS = ("--pooling", "mean", "--l2-norm", "--device", "cpu", "--dtype", "float32")


@pytest.fixture(scope="session")
def built(tiny_encoder, tiny_collection, tmp_path_factory):
    """The whole way, once: embeddings, an OPQ index, a JPQ index and its encoder."""
    folder = tmp_path_factory.mktemp("built")
    corpus = tiny_collection / "documents.jsonl"
    embeddings = folder / "embeddings"
    assert run("encode", "--corpus", corpus, "--encoder", tiny_encoder, "--output", embeddings, *ENCODER_FLAGS) == 0
    assert run("index", "--embeddings", embeddings, "--output", folder / "x.opq-m4", "--m", 4) == 0
    train = ["--index", folder / "x.opq-m4", "--output-encoder", folder / "enc" / "x.jpq-m4", "--device", "cpu"]
    data = [f"--{p}{kind}" for kind in ("topics", "qrels") for p in ("", "dev-")]
    paths = [
        tiny_collection / f"{k}.{p}.{e}" for k, e in (("topics", "tsv"), ("qrels", "txt")) for p in ("train", "dev")
    ]
    flags = [word for pair in zip(data, paths, strict=True) for word in pair]
    assert (
        run("train", *train, *flags, "--epochs", 2, "--num-negatives", 20, "--distill-weight", 0, "--norm-bias", 0) == 0
    )
    return folder
