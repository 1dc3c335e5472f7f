import json

import numpy as np
import pytest

from tests.conftest import WORDS, run

pytestmark = pytest.mark.integration


def make_classifier(folder, tiny_encoder, labels=1):
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    torch.manual_seed(1)
    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    tokenizer.model_max_length = 64
    sizes = {"vocab_size": len(tokenizer), "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(**sizes, intermediate_size=16, max_position_embeddings=64, num_labels=labels)
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def classifier(tiny_encoder, tmp_path_factory):
    return make_classifier(tmp_path_factory.mktemp("classifier") / "one", tiny_encoder)


@pytest.fixture(scope="module")
def search_words(built, tiny_collection):
    return ("search", "--index", built / "x.jpq-m4", "--topics", tiny_collection / "topics.dev.tsv", "--hits", 20)


def test_the_best_hits_are_ordered_by_the_classifier(classifier, search_words, tiny_collection, tmp_path):
    from pyserini_jpq.data.runs import read_run
    from pyserini_jpq.data.topics import read_topics
    from pyserini_jpq.search.rerank import Reranker, read_texts

    corpus = tiny_collection / "documents.jsonl"
    assert run(*search_words, "--output", tmp_path / "one.txt") == 0
    second = ("--rerank", classifier, "--rerank-hits", 7, "--corpus", corpus, "--rerank-batch-size", 3)
    assert run(*search_words, "--output", tmp_path / "two.txt", *second) == 0
    first, reranked = read_run(str(tmp_path / "one.txt")), read_run(str(tmp_path / "two.txt"))
    texts, topics = read_texts(corpus), read_topics(str(tiny_collection / "topics.dev.tsv"))
    reranker = Reranker(str(classifier), texts, batch_size=50)
    moved = 0
    for qid, before in first.items():
        old, new = list(before), list(reranked[qid])
        assert set(old[:7]) == set(new[:7]) and old[7:] == new[7:]
        scores = reranker.scores(topics[qid], [texts[docid] for docid in new[:7]])
        np.testing.assert_allclose([reranked[qid][docid] for docid in new[:7]], scores, atol=1e-5)
        assert (np.diff(scores) < 1e-5).all()  # padding in another batch moves the last digits
        assert min(scores) > reranked[qid][new[7]]
        moved += old[:7] != new[:7]
    assert moved > 3
    beside = json.loads((tmp_path / "two.txt.json").read_text())["rerank"]
    assert beside["hits"] == 7 and beside["latency"]["wall"]["count"] == len(topics)


def test_two_labels_score_by_their_difference(tiny_encoder, tmp_path):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from pyserini_jpq.search.rerank import Reranker

    folder = make_classifier(tmp_path / "two", tiny_encoder, labels=2)
    scores = Reranker(str(folder), {}).scores(WORDS[0], WORDS[1:4])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        logits = [model(**tokenizer(WORDS[0], word, return_tensors="pt")).logits[0] for word in WORDS[1:4]]
    assert scores == pytest.approx([float(pair[1] - pair[0]) for pair in logits], abs=1e-5)


def test_what_cannot_be_is_one_line(classifier, search_words, tiny_encoder, tmp_path, capsys):
    output = ("--output", tmp_path / "run.txt")
    corpus = tmp_path / "few.jsonl"
    corpus.write_text(json.dumps({"id": "d0", "text": "word"}) + "\n")
    three = make_classifier(tmp_path / "three", tiny_encoder, labels=3)
    for words, part in (
        (("--rerank", classifier), "--corpus"),
        (("--rerank", classifier, "--corpus", corpus), "no document"),
        (("--rerank", tmp_path / "absent", "--corpus", corpus), "no sequence classifier"),
        (("--rerank", three, "--corpus", corpus), "3 labels"),
    ):
        assert run(*search_words, *output, *words) == 2
        err = capsys.readouterr().err
        assert part in err and "Traceback" not in err
    assert not (tmp_path / "run.txt").exists()
