"""The demo's collection, as the running Python gives it, and the questions that are asked to it."""

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from demo import python_docs
from demo.python_docs import DOCUMENTS, read_collection, write_collection
from pyserini_jpq.errors import CollectionError, InstallationError

QUESTIONS = Path(python_docs.__file__).with_name("questions")
COMMON = """
a all an and any are as at be been by can did do does each for from had has have how i if in into is it its may me must
my not of on or out should than that the then these this those to up was were what when where which who why will with
you your
"""
STOPWORDS = frozenset(COMMON.split())


pytestmark = pytest.mark.integration  # each builds or reads the whole collection, in a process of its own


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    folder = tmp_path_factory.mktemp("python-docs")
    count = write_collection(folder)
    documents = read_collection(folder)
    assert count == len(documents)
    return {document["id"]: document for document in documents}


def topics(half):
    lines = (QUESTIONS / f"topics.{half}.tsv").read_text(encoding="utf-8").splitlines()
    return dict(line.split("\t") for line in lines)


def qrels(half):
    relevant = {}
    for line in (QUESTIONS / f"qrels.{half}.txt").read_text(encoding="utf-8").splitlines():
        qid, zero, docid, grade = line.split(" ")
        assert (zero, grade) == ("0", "1")
        relevant.setdefault(qid, []).append(docid)
    return relevant


def test_documents_are_well_formed(tmp_path):
    write_collection(tmp_path)
    documents = read_collection(tmp_path)
    docids = [document["id"] for document in documents]
    assert 4000 < len(documents) < 8000
    assert docids == sorted(set(docids))
    for document in documents:
        assert set(document) == {"id", "title", "text"}
        assert re.fullmatch(r"[A-Za-z]\w*(\.\w+)*", document["id"])
        assert document["text"].strip() == document["text"] != ""
        assert document["title"].startswith(document["id"])
        assert len(document["title"]) <= 100
        assert " at 0x" not in document["title"]


def test_the_names_are_those_that_users_write(collection):
    written = [
        "open",
        "print",
        "str.split",
        "os.path.join",
        "os.listdir",
        "json.loads",
        "random.choice",
        "secrets.choice",
    ]
    written += [
        "pathlib.Path.read_text",
        "pathlib.Path.exists",
        "pathlib.PurePath.suffix",
        "asyncio.Queue.put",
        "subprocess",
    ]
    written += [
        "collections.Counter.most_common",
        "concurrent.futures.Executor.submit",
        "asyncio.run",
        "socket.socket.accept",
    ]
    written += ["socket.socket.connect", "unittest.TestCase.assertRaises", "typing.Optional", "datetime.datetime.now"]
    assert [name for name in written if name not in collection] == []
    hidden = ["builtins.open", "io.open", "posixpath.join", "posix.listdir", "pathlib.PosixPath.read_text", "IOError"]
    hidden += ["json.decoder.JSONDecoder", "asyncio.runners.run", "bytearray.isdigit", "pathlib.Path.suffix", "this"]
    assert [name for name in hidden if name in collection] == []


def test_a_class_does_not_repeat_what_it_inherits(collection):
    assert "dict.get" in collection
    assert "collections.Counter.get" not in collection
    assert "collections.OrderedDict.get" not in collection


def test_a_docstring_stands_once_in_a_package(collection):
    def package(docid):
        first = docid.partition(".")[0]
        return first if first in sys.stdlib_module_names else ""

    keys = [(package(docid), document["text"]) for docid, document in collection.items()]
    assert len(keys) == len(set(keys))


def test_titles_name_the_parameters(collection):
    assert collection["textwrap.dedent"]["title"] == "textwrap.dedent(text)"
    assert collection["heapq.merge"]["title"] == "heapq.merge(*iterables, key, reverse)"
    assert collection["subprocess"]["title"] == "subprocess"


def test_the_environment_changes_nothing(tmp_path):
    # Another hash seed, docstrings stripped, a display that is not there, and a module of another making in the folder.
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONHASHSEED": "7",
        "PYTHONOPTIMIZE": "2",
        "DISPLAY": ":99",
        "TERM": "x",
    }
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "csv.py").write_text("raise SystemExit('shadowed')")
    script = "import sys; from demo.python_docs import write_collection; write_collection(sys.argv[1])"
    root = QUESTIONS.parent.parent
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "a")],
        env=environment | {"PYTHONPATH": str(root)},
        cwd=tmp_path / "a",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )
    write_collection(tmp_path / "b")
    assert done.stdout == b""
    assert (tmp_path / "a" / DOCUMENTS).read_bytes() == (tmp_path / "b" / DOCUMENTS).read_bytes()
    assert os.listdir(tmp_path / "b") == [DOCUMENTS]


@pytest.mark.parametrize("missing", ["_ctypes _curses readline _sqlite3 _bz2 _lzma _dbm _gdbm _tkinter _uuid"])
def test_a_python_without_optional_modules_has_every_relevant_document(missing):
    blocked = "import runpy, sys; [sys.modules.__setitem__(name, None) for name in sys.argv[2].split()]"
    run = "runpy.run_path(sys.argv[1], run_name='__main__')"
    command = [sys.executable, "-I", "-S", "-c", f"{blocked}; {run}", str(python_docs.WALKER), missing]
    lines = subprocess.run(command, capture_output=True, check=True).stdout.decode().splitlines()
    docids = {json.loads(line)["id"] for line in lines}
    assert "sqlite3.connect" not in docids
    asked = set(itertools.chain(*qrels("dev").values(), *qrels("test").values()))
    assert asked - docids == set()


def test_a_walk_that_fails_is_told_in_one_line(tmp_path, monkeypatch):
    broken = tmp_path / "walk.py"
    broken.write_text("raise RuntimeError('no library here')")
    monkeypatch.setattr(python_docs, "WALKER", broken)
    with pytest.raises(InstallationError, match="no library here") as caught:
        write_collection(tmp_path / "c")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "c").exists()


def test_a_missing_collection_is_told(tmp_path):
    with pytest.raises(CollectionError, match=DOCUMENTS):
        read_collection(tmp_path)


def test_the_questions_are_halved_by_alternation():
    dev, test = topics("dev"), topics("test")
    assert len(dev) + len(test) >= 200
    assert abs(len(dev) - len(test)) <= 1
    assert not set(dev) & set(test)
    asked = [question.lower() for question in itertools.chain(dev.values(), test.values())]
    assert len(asked) == len(set(asked))
    numbers = {qid: int(re.fullmatch(r"q(\d{3})", qid)[1]) for qid in dev | test}
    assert all(numbers[qid] % 2 == 1 for qid in dev)
    assert all(numbers[qid] % 2 == 0 for qid in test)


@pytest.mark.parametrize("half", ["dev", "test"])
def test_every_question_has_its_answers_in_the_collection(half, collection):
    asked, relevant = topics(half), qrels(half)
    assert set(asked) == set(relevant)
    for docids in relevant.values():
        assert 1 <= len(docids) <= 8
        assert len(docids) == len(set(docids))
        assert [docid for docid in docids if docid not in collection] == []


def grams(words, length):
    return {tuple(words[start : start + length]) for start in range(len(words) - length + 1)}


def shared_wording(question, text):
    """Return what a question takes from a text: four consecutive words, or three that are no stopwords."""
    asked, said = (re.findall(r"[a-z0-9]+", part.lower()) for part in (question, text))
    telling = [[word for word in words if word not in STOPWORDS] for words in (asked, said)]
    return grams(asked, 4) & grams(said, 4) | grams(telling[0], 3) & grams(telling[1], 3)


@pytest.mark.unit
def test_shared_wording_is_found():
    assert shared_wording("copy a file to the disk", "Copy a file, to ...") == {("copy", "a", "file", "to")}
    assert shared_wording("remove the empty folders", "Remove all empty folders.") == {("remove", "empty", "folders")}
    assert shared_wording("get rid of a file", "Remove a file.") == set()


@pytest.mark.parametrize("half", ["dev", "test"])
def test_no_question_takes_its_wording_from_an_answer(half, collection):
    relevant = qrels(half)
    for qid, question in topics(half).items():
        for docid in relevant[qid]:
            assert shared_wording(question, collection[docid]["text"]) == set(), (qid, docid)
