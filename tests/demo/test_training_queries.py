"""Training queries: what they look like, whom they ask for, and that they can be made again."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo import python_docs, training_queries
from demo.dev_half import QUESTIONS, add_dev_half
from demo.docstrings import parse
from demo.phrasing import questions, reworded, uninflected
from demo.python_docs import DOCUMENTS, write_collection
from demo.training_queries import STYLES, content_words, split_name, tidy, training_topics, write_training_queries
from pyserini_jpq.data.qrels import read_qrels
from pyserini_jpq.data.topics import read_topics
from pyserini_jpq.errors import CollectionError, TopicsError


def chance():
    return random.Random(5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("training")
    write_collection(path)
    return path


@pytest.fixture(scope="module")
def small(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("small")
    lines = (folder / DOCUMENTS).read_text(encoding="utf-8").splitlines(keepends=True)
    (path / DOCUMENTS).write_text("".join(lines[::15]), encoding="utf-8")
    return path


def read(folder):
    lines = (folder / training_queries.TOPICS).read_text(encoding="utf-8").splitlines()
    topics = dict(line.split("\t") for line in lines)
    qrels = {}
    for line in (folder / training_queries.QRELS).read_text(encoding="utf-8").splitlines():
        qid, zero, docid, grade = line.split(" ")
        assert (zero, grade) == ("0", "1")
        qrels.setdefault(qid, set()).add(docid)
    assert len(topics) == len(lines)
    return topics, qrels


@pytest.mark.integration
def test_queries_are_well_formed(folder):
    count = write_training_queries(folder)
    topics, qrels = read(folder)
    docids = {json.loads(line)["id"] for line in (folder / DOCUMENTS).read_text(encoding="utf-8").splitlines()}
    assert count == len(topics) > 2 * len(docids)
    assert set(topics) == set(qrels)
    assert len(set(topics.values())) == len(topics)
    lowered = {docid.lower() for docid in docids}
    for qid, query in topics.items():
        assert query == tidy(query)
        assert query not in lowered
        assert 1 <= len(qrels[qid]) <= training_queries.MAX_RELEVANT
        assert qrels[qid] <= docids
    assert len(set().union(*qrels.values())) > 0.97 * len(docids)


@pytest.mark.integration
def test_no_test_question_is_a_training_query(folder):
    write_training_queries(folder, per_document=50)
    trained = set(read(folder)[0].values())
    for half in ("dev", "test"):
        lines = (Path(python_docs.__file__).parent / "questions" / f"topics.{half}.tsv").read_text(encoding="utf-8")
        asked = {tidy(line.split("\t")[1]) for line in lines.splitlines()}
        assert asked & trained == set()


@pytest.mark.integration
def test_the_seed_decides(small):
    def made(**options):
        write_training_queries(small, **options)
        return (small / training_queries.TOPICS).read_bytes(), (small / training_queries.QRELS).read_bytes()

    assert made(seed=1) == made(seed=1)
    assert made(seed=1) != made(seed=2)


@pytest.mark.integration
def test_the_options_count(small):
    documents = len((small / DOCUMENTS).read_text(encoding="utf-8").splitlines())
    one = write_training_queries(small, per_document=1)
    assert 0.9 * documents < one <= documents
    assert write_training_queries(small, per_document=4) > 3 * one
    assert write_training_queries(small, limit=100) == 100
    assert write_training_queries(small, styles=("parameter",)) < one


@pytest.mark.integration
def test_wrong_options_are_told(small, tmp_path):
    with pytest.raises(TopicsError, match="no style 'rhyme'"):
        write_training_queries(small, styles=("rhyme",))
    with pytest.raises(TopicsError, match="per_document"):
        write_training_queries(small, per_document=0)
    with pytest.raises(CollectionError, match=DOCUMENTS):
        write_training_queries(tmp_path)


def made_from(*texts, styles=tuple(STYLES), per_document=3):
    documents = [{"id": f"mod.f{number}", "title": "t", "text": text} for number, text in enumerate(texts)]
    return training_topics(documents, seed=1, per_document=per_document, styles=styles)


def test_documents_that_say_the_same_are_relevant_together():
    same = "Return the size of the open file in bytes."
    made = made_from(
        same, same.replace("Return", "Returns") + " Cheap.", "Close the socket at once.", styles=("summary",)
    )
    shared = [docids for query, docids in made if "size of the open file" in query]
    assert shared
    assert all(docids == ["mod.f0", "mod.f1"] for docids in shared)
    assert [docids for query, docids in made if "socket" in query] == [["mod.f2"]] * 3


def test_opposites_are_not_relevant_together():
    made = made_from(
        "Convert a short integer from host to network order.", "Convert a short integer from network to host order."
    )
    assert all(len(docids) == 1 for _, docids in made)


def test_a_document_more_leaves_the_queries_of_the_others():
    first = made_from("Copy the contents of a folder.", "Split a text at each comma.")
    second = made_from("Copy the contents of a folder.", "Split a text at each comma.", "Start the engine of the car.")
    assert first == second[: len(first)]


@pytest.mark.parametrize(
    ("text", "summary"),
    [
        ("zip(*iterables) --> Yield tuples until one is exhausted.", "Yield tuples until one is exhausted."),
        ("sleep(seconds)\n\nDelay execution. Takes a\nfloat.", "Delay execution"),
        ("D.pop(k[,d]) -> v, remove the key and return its value.", "remove the key and return its value."),
        (">>> f(1)\n2\n\nReads ``x`` with :func:`read`.", "Reads x with read."),
    ],
)
def test_summaries_have_no_signature_markup_or_example(text, summary):
    assert parse(text).sentences[0] == summary


def test_parameters_are_found():
    said = parse("Open it.\n\nArgs:\n  name: the path of the file\n  mode -- how the file is opened\n  x: y\n")
    assert said.parameters == [("name", "the path of the file"), ("mode", "how the file is opened")]


@pytest.mark.parametrize(
    ("sentence", "asked"),
    [
        ("Return True if the path is absolute, False otherwise.", "check if the path is absolute"),
        ("Returns the size of a file (in bytes).", "how to get the size of a file"),
        ("Creates a folder", "how to create a folder"),
        ("Copies a file.", "copy a file"),
        ("Raised when the disk is full.", "error when the disk is full"),
        ("A class that represents a thread.", "represent a thread"),
        ("Composes the parts", "compose the parts"),
        ("The parent of the path.", "what is parent of the path"),
    ],
)
def test_sentences_become_questions(sentence, asked):
    assert asked in questions(sentence, chance())


def test_rewording_uses_what_programmers_say():
    assert reworded("remove the directory", chance(), rate=1.0) in {"delete the folder", "get rid of the folder"}
    assert reworded("remove the directory", chance(), rate=0.0) == "remove the directory"


@pytest.mark.parametrize(
    ("word", "plain"), [("Creates", "create"), ("copies", "copy"), ("Process", "process"), ("blue", None)]
)
def test_verbs_are_uninflected(word, plain):
    assert uninflected(word) == plain


@pytest.mark.parametrize(
    ("name", "words"),
    [("DictReader", "dict reader"), ("read_text", "read text"), ("HTTPServer", "http server"), ("f", "f")],
)
def test_names_are_split(name, words):
    assert split_name(name) == words


@pytest.mark.property
@given(st.text())
def test_tidy_is_stable_and_gives_a_topic(text):
    query = tidy(text)
    assert tidy(query) == query
    assert "\t" not in query
    assert "\n" not in query
    assert query == query.strip()


@pytest.mark.property
@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=80), max_size=5))
def test_any_docstring_can_be_asked_about(texts):
    for query, docids in made_from(*texts, per_document=6):
        assert query
        assert docids == sorted(set(docids))


@pytest.mark.property
@given(st.text())
def test_content_words_are_words(text):
    assert all(word == word.lower() and len(word) > 1 and " " not in word for word in content_words(text))


def test_the_dev_half_is_added_and_nothing_of_the_test_half(tmp_path):
    for name in ("topics.train.tsv", "qrels.train.txt"):
        (tmp_path / name).write_text("")
    add_dev_half(tmp_path, times=3)
    topics, qrels = read_topics(str(tmp_path / "topics.train.tsv")), read_qrels(str(tmp_path / "qrels.train.txt"))
    dev, test = (read_topics(str(QUESTIONS / f"topics.{half}.tsv")) for half in ("dev", "test"))
    assert len(topics) == 3 * len(dev) and set(topics.values()) == set(dev.values())
    assert not set(topics.values()) & set(test.values()) and set(qrels) == set(topics)
    judged = read_qrels(str(QUESTIONS / "qrels.dev.txt"))
    assert all(qrels[f"dev2{qid}"] == grades for qid, grades in judged.items())
