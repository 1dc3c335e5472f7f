"""A tiny encoder and a tiny collection, built here, so that no test needs a network or a download."""

import json
import random
from pathlib import Path

import pytest

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


def make_encoder(folder: Path, dimension: int = 32, head: bool = False, seed: int = 0, tokenizer=None) -> Path:
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
    assert run("train", *train, *flags, "--epochs", 2, "--negatives", 20) == 0
    return folder
