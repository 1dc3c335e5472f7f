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


def test_a_model_without_a_head_is_refused_before_anything_is_read(tiny_encoder, tmp_path):
    from transformers import AutoTokenizer, BertConfig, BertForMaskedLM, BertModel, LlamaConfig, LlamaForCausalLM

    from pyserini_jpq.errors import EncoderError
    from pyserini_jpq.search.rerank import Reranker

    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    sizes = {"vocab_size": len(tokenizer), "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    bert, llama = BertConfig(**sizes, intermediate_size=16), LlamaConfig(**sizes, intermediate_size=16)
    models = (
        (BertModel(bert), "classifier"),
        (BertForMaskedLM(bert), "classifier"),
        (LlamaForCausalLM(llama), "score"),
    )
    for model, missing in models:
        model.save_pretrained(tmp_path / missing)
        tokenizer.save_pretrained(tmp_path / missing)
        with pytest.raises(EncoderError, match=rf"has no weights for .*{missing}\.") as problem:
            Reranker(str(tmp_path / missing), tmp_path / "no collection")
        assert "\n" not in str(problem.value)


@pytest.mark.parametrize("limit", [64, int(1e30)])
@pytest.mark.parametrize("kind", ["bert", "roberta", "gpt2"])
def test_long_queries_and_long_documents(tiny_encoder, tmp_path, limit, kind):
    import torch
    import transformers

    from pyserini_jpq.search.rerank import Reranker

    torch.manual_seed(2)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_encoder)
    tokenizer.model_max_length = limit
    sizes = {"vocab_size": len(tokenizer), "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    sizes |= {"num_labels": 1, "pad_token_id": tokenizer.pad_token_id}
    if kind == "gpt2":  # neither has a padding token
        config = transformers.GPT2Config(**sizes | {"pad_token_id": None}, n_positions=32)
        model, tokenizer.pad_token = transformers.GPT2ForSequenceClassification(config), None
    else:
        config_class = transformers.BertConfig if kind == "bert" else transformers.RobertaConfig
        config = config_class(**sizes, intermediate_size=16, max_position_embeddings=32)
        name = "BertForSequenceClassification" if kind == "bert" else "RobertaForSequenceClassification"
        model = getattr(transformers, name)(config)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    long, short = " ".join(WORDS[:80]), WORDS[0]
    texts = [long, short, " ".join(WORDS[5:9])]
    together = {query: Reranker(str(tmp_path), {}, max_length=999).scores(query, texts) for query in (long, short)}
    assert np.isfinite(list(together.values())).all()
    for query, scores in together.items():
        alone = Reranker(str(tmp_path), {}, batch_size=1)
        assert scores == pytest.approx([alone.scores(query, [text])[0] for text in texts], abs=1e-5)
    # A query that is shorter than the room for both is whole: the document alone is cut.
    with torch.no_grad():
        most = 32 - (tokenizer.pad_token_id + 1 if kind == "roberta" else 0)
        tokens = tokenizer(short, long, truncation="only_second", max_length=most, return_tensors="pt")
        expected = model.eval()(**tokens).logits[0, 0]
    assert together[short][0] == pytest.approx(float(expected), abs=1e-5)
