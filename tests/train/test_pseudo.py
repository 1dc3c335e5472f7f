"""Queries made of documents: of their words, the same in every run; and training that needs no others."""

import numpy as np
import pytest

from pyserini_jpq.data.collection import Document
from pyserini_jpq.errors import CollectionError, EncoderError, JPQError, TrainingError
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.index.texts import keep_texts
from pyserini_jpq.index.vectors import keep_vectors, vectors_of
from pyserini_jpq.train.options import PSEUDO_KINDS, TrainOptions
from pyserini_jpq.train.pseudo import MAKERS, made_queries, pseudo_queries
from pyserini_jpq.train.source import read_source
from tests.conftest import WORDS, run

SENTENCES = "The first sentence of {0} is here. A second of {0} stands here! Short.\nThe third, on a line of {0}?"
DOCUMENTS = [Document(f"d{i}", f"title {i}", f"{SENTENCES.format(i)} word{i} rare{i % 3}") for i in range(9)]


@pytest.mark.unit
def test_queries_are_of_the_words_of_their_document():
    topics, sources = pseudo_queries(DOCUMENTS, PSEUDO_KINDS, 42)
    assert set(MAKERS) == set(PSEUDO_KINDS) and set(topics) == set(sources) and len(topics) == 4 * 9
    for qid, query in topics.items():
        document = DOCUMENTS[int(sources[qid][1:])]
        text = f"{document.title} {document.text}".replace("\n", " ")
        if qid.startswith("keywords"):
            assert set(query.split()) <= set(text.lower().replace(".", " ").replace("?", " ").replace(",", "").split())
            assert 2 <= len(query.split()) <= 6
        else:
            assert query in text
    assert topics["title0.d4"] == "title 4"
    assert any("rare" in query for qid, query in topics.items() if qid.startswith("keywords"))
    assert not any("word" in query for qid, query in topics.items() if qid.startswith("keywords"))  # once: a misprint


@pytest.mark.unit
def test_they_depend_on_document_and_seed():
    some = pseudo_queries(DOCUMENTS[3:5], ["sentence", "span", "span"], 42)[0]
    every = pseudo_queries(DOCUMENTS, ["sentence", "span", "span"], 42)[0]
    assert some.items() <= every.items() and some["span1.d3"] != some["span2.d3"]
    assert every != pseudo_queries(DOCUMENTS, ["sentence", "span", "span"], 43)[0]


@pytest.mark.unit
def test_what_several_documents_say_asks_for_none_of_them():
    documents = [Document(d, f"title of {d}", "All rights are reserved.") for d in "abc"]
    topics, sources = pseudo_queries(documents, ["title", "sentence", "title"], 42)
    assert sorted(topics) == sorted(sources) == [f"title{n}.{d}" for n in (0, 2) for d in "abc"]


@pytest.mark.unit
def test_a_document_that_has_nothing_makes_nothing():
    empty = [Document("a", "", "word"), Document("b", "title", "")]
    topics, _ = pseudo_queries(empty, PSEUDO_KINDS, 42)
    assert topics["title0.b"] == "title" and not {"title0.a", "sentence1.a", "sentence1.b"} & set(topics)
    with pytest.raises(JPQError, match="pseudo_kinds 'poem' is not one of title, sentence"):
        TrainOptions(pseudo_kinds="title,poem")


@pytest.mark.unit
def test_texts_come_from_the_index_or_the_collection(built, tiny_collection):
    source, corpus = read_source(built / "x.opq-m4"), tiny_collection / "documents.jsonl"
    with pytest.raises(TrainingError, match="keeps no texts to make queries of: give --topics, or"):
        made_queries(source, None, TrainOptions())
    topics, sources = made_queries(source, corpus, TrainOptions(pseudo_queries=20, pseudo_kinds="sentence,span"))
    assert len(topics) == 20 and len(set(sources.values())) == 10
    assert all(set(query.split()) <= set(WORDS) for query in topics.values())
    other = tiny_collection / "topics.dev.tsv"  # lines of qid and text: a collection of other documents
    with pytest.raises(CollectionError, match="lacks 10 documents"):
        made_queries(source, other, TrainOptions(pseudo_queries=20, pseudo_kinds="sentence,span"))


@pytest.mark.integration
def test_one_command_without_topics(built, tiny_collection, tmp_path, capsys):
    base = ("train", "--index", built / "x.opq-m4", "--output", tmp_path / "x", "--output-encoder", tmp_path / "enc")
    base = (*base, "--device", "cpu", "--num-negatives", 20, "--pseudo-queries", 100)
    assert run(*base) == 2 and "keeps no texts to make queries of" in capsys.readouterr().err
    assert run(*base, "--corpus", tiny_collection / "documents.jsonl", "--epochs", 1) == 0
    training = IndexFolder(tmp_path / "x", verify=True).manifest.training
    assert 40 < training["queries"] <= 102 and training["made_of"]["pseudo_kinds"] == TrainOptions().pseudo_kinds
    qrels = tiny_collection / "qrels.train.txt"
    assert run(*base, "--qrels", qrels) == 2 and "give these with --topics" in capsys.readouterr().err


@pytest.mark.integration
def test_training_carries_texts_and_vectors(built, tiny_collection, tmp_path):
    import shutil

    from pyserini_jpq.encode.embeddings import Embeddings
    from pyserini_jpq.train.run import train

    shutil.copytree(built / "x.opq-m4", tmp_path / "x.opq")
    embeddings = built / "embeddings"
    keep_texts(IndexFolder(tmp_path / "x.opq"), tiny_collection / "documents.jsonl")
    keep_vectors(IndexFolder(tmp_path / "x.opq"), "int8", Embeddings(embeddings))
    options = TrainOptions(pseudo_queries=64, epochs=1, num_negatives=20, device="cpu", threads=1)
    # The copy's embeddings are not where it says: the vectors that it keeps teach.
    folder = train(tmp_path / "x.opq", output_encoder=tmp_path / "enc", options=options)
    kept, before = (vectors_of(IndexFolder(path, verify=True)) for path in (folder, tmp_path / "x.opq"))
    assert all(map(np.array_equal, kept.records(), before.records())) and kept.kind == "int8"


@pytest.mark.integration
def test_a_model_writes_the_queries(built, tiny_encoder, tiny_collection, tmp_path):
    from transformers import AutoTokenizer, T5Config, T5ForConditionalGeneration

    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    sizes = {"vocab_size": len(tokenizer), "d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": 3, "decoder_start_token_id": 2}
    T5ForConditionalGeneration(T5Config(**sizes, **ids)).save_pretrained(tmp_path / "t5")
    tokenizer.save_pretrained(tmp_path / "t5")
    source, corpus = read_source(built / "x.opq-m4"), tiny_collection / "documents.jsonl"
    options = TrainOptions(pseudo_queries=12, generator=str(tmp_path / "t5"), device="cpu")
    topics, sources = made_queries(source, corpus, options)
    assert made_queries(source, corpus, options) == (topics, sources)
    assert 0 < len(topics) <= 12 and all(qid.endswith(f".{docid}") for qid, docid in sources.items())
    with pytest.raises(EncoderError, match="is no sequence-to-sequence model that can be loaded"):
        made_queries(source, corpus, TrainOptions(generator=str(tmp_path), device="cpu"))


@pytest.mark.integration
def test_a_cross_encoder_gives_the_margins(built, tiny_encoder, tiny_collection, tmp_path):
    from pyserini_jpq.train.margins import margin_scores
    from pyserini_jpq.train.run import train
    from tests.search.test_rerank import make_classifier

    make_classifier(tmp_path / "cross", tiny_encoder)
    corpus = tiny_collection / "documents.jsonl"
    options = TrainOptions(pseudo_queries=20, margins=str(tmp_path / "cross"), epochs=1, device="cpu", threads=1)
    source = read_source(built / "x.opq-m4")
    topics, sources = made_queries(source, corpus, options)
    scores = margin_scores(source, corpus, topics, sources, options)
    assert scores.keys() == topics.keys() and all(next(iter(scores[qid])) == sources[qid] for qid in topics)
    assert all(10 <= len(found) <= 11 for found in scores.values())
    folder = train(
        built / "x.opq-m4", None, None, tmp_path / "x", options=options, corpus=corpus, output_encoder=tmp_path / "enc"
    )
    training = IndexFolder(folder).manifest.training
    assert training["recipe"]["loss"] == "margin-mse" and training["made_of"]["margins"] == options.margins
    with pytest.raises(TrainingError, match="leave --topics or --margins out"):
        train(built / "x.opq-m4", topics, None, tmp_path / "y", options=options)
