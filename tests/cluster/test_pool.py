"""A cluster of three nodes on this machine: actors and a node are killed, and nothing is lost."""

import contextlib
import os
import socket
import sys
import time

import numpy as np
import pytest

import pyserini_jpq as jpq
from pyserini_jpq.cluster import Cluster, ClusterOptions
from pyserini_jpq.encode import document, pieces
from pyserini_jpq.encode.pieces import EncodeWorker
from pyserini_jpq.errors import InstallationError, JPQError
from pyserini_jpq.index.encoders import UNKNOWN
from pyserini_jpq.index.run import encode_index
from pyserini_jpq.search.engines.cluster import ShardSearcher
from pyserini_jpq.search.open import _reopened
from pyserini_jpq.serve.indexes import Indexes
from tests.conftest import ENCODER_FLAGS, make_embeddings, run

pytestmark = pytest.mark.integration


class Noted(EncodeWorker):
    """Encodes, and notes each piece that it begins."""

    def do(self, piece):
        begun = piece.file.npy.parents[1] / "begun"
        begun.mkdir(exist_ok=True)
        with open(begun / piece.file.npy.name, "a") as file:
            file.write("x")
        return super().do(piece)


class Squares:
    """Squares numbers, and notes each that it begins."""

    def __init__(self, folder):
        self.folder = folder

    def do(self, piece):
        with open(os.path.join(self.folder, str(piece)), "a") as file:
            file.write("x")
        if piece == 13:
            raise JPQError("13 is unlucky")
        time.sleep(0.02)
        return piece**2


def ports():
    """Return free ports for the agents of a node: Ray waits a quarter of a minute for those that they choose."""
    names = ("metrics_agent_port", "runtime_env_agent_port", "dashboard_agent_listen_port", "metrics_export_port")
    with contextlib.ExitStack() as open_ones:
        sockets = [open_ones.enter_context(socket.socket()) for _ in names]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return {name: one.getsockname()[1] for name, one in zip(names, sockets, strict=True)}


@pytest.fixture(scope="module")
def nodes():
    ray = pytest.importorskip("ray", reason="Ray is not installed (extra ray)")
    utils = pytest.importorskip("ray.cluster_utils")
    size = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}
    try:
        cluster = utils.Cluster(True, head_node_args={**size, **ports()})
        others = [cluster.add_node(**size, **ports()) for _ in range(2)]
    except Exception as problem:  # Ray waits half a minute for a node, which is too short on a busy machine
        pytest.skip(f"no Ray cluster starts here: {problem}")
    paths = {"PYTHONPATH": os.pathsep.join([os.getcwd(), *filter(None, [os.environ.get("PYTHONPATH")])])}
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR", runtime_env={"env_vars": paths})
    yield cluster, others
    ray.shutdown()
    cluster.shutdown()


def test_without_ray_the_extra_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InstallationError, match=r"pyserini_jpq\[ray\]"):
        list(Cluster().map(Squares, (".",), [1]))
    assert run("search", "--index", ".", "--topics", "t", "--ray-resources", "cpu") == 2
    assert "'cpu' is no resource; write num_cpus=2 or num_gpus=1" in capsys.readouterr().err
    assert Cluster.of(ClusterOptions()) is None


def losing(pieces, pool, monkeypatch, kills, remove):
    """Yield pieces; before those of some numbers an actor is killed, before another a node is removed."""
    import ray

    start = pool._start
    actors: list = []
    monkeypatch.setattr(pool, "_start", lambda *args: actors.append(start(*args)) or actors[-1])

    def with_losses():
        for number, piece in enumerate(pieces):
            if number in kills:
                ray.kill(actors[kills.index(number)])
            if remove and number == remove[0]:
                remove[1]()
            yield piece

    return with_losses()


def test_a_collection_is_indexed_though_actors_and_a_node_die(
    nodes, tiny_collection, tiny_encoder, tmp_path, monkeypatch
):
    cluster, others = nodes
    monkeypatch.setattr(document, "WINDOW", 12)
    monkeypatch.setattr(pieces, "EncodeWorker", Noted)
    corpus, encoding = tiny_collection / "documents.jsonl", jpq.EncodeOptions(device="cpu", dtype="float32")
    options = jpq.IndexOptions(m=4, sample=100, bits=4, shards=3)
    pool = Cluster("auto", actors=3)
    given = pieces.pieces_of
    remove = 18, lambda: cluster.remove_node(others.pop())
    monkeypatch.setattr(pieces, "pieces_of", lambda *args: losing(given(*args), pool, monkeypatch, (6, 12), remove))
    index = encode_index(corpus, tiny_encoder, tmp_path / "x", cluster=pool, options=options, encode_options=encoding)
    begun = [len(file.read_text()) for file in (tmp_path / "begun").iterdir()]
    assert index.manifest.documents == 300 and len(begun) == 25
    assert 2 <= pool.lost <= 4 and sum(begun) - 25 <= pool.again <= pool.lost  # only what was lost was begun twice
    rows = jpq.encode(corpus, tiny_encoder, tmp_path / "e", options=encoding)
    jpq.build_index(rows, tmp_path / "one", options=options)
    for name in ("index", "docid", "blocks", "initial_centroids.npy"):
        of = [[(tmp_path / x / f"shard-0000{i}" / name).read_bytes() for i in range(3)] for x in ("x", "one")]
        assert of[0] == of[1]
    queries = rows.rows(np.arange(5))
    right = jpq.Index(tmp_path / "one").batch_search(queries, 20)
    found = jpq.Index(tmp_path / "x", cluster=Cluster("auto", actors=1)).batch_search(queries, 20)
    assert [[(h.docid, h.score) for h in of] for of in found] == [[(h.docid, h.score) for h in of] for of in right]


def test_encoding_on_a_cluster_gives_the_bytes_of_one_process(
    nodes, tiny_collection, tiny_encoder, tmp_path, monkeypatch
):
    corpus = tiny_collection / "documents.jsonl"
    monkeypatch.setattr(document, "WINDOW", 50)
    for name, flags in (("one", ()), ("many", ("--ray", "auto", "--ray-actors", 2))):
        words = ("--corpus", corpus, "--encoder", tiny_encoder, "--output", tmp_path / name)
        assert run("encode", *words, *ENCODER_FLAGS, *flags) == 0
        if name == "many":
            assert run("encode", *words, *ENCODER_FLAGS, *flags) == 2  # it is complete
            (tmp_path / name / "rows-0000000100.npy").unlink()
            before = {file: file.stat().st_mtime_ns for file in (tmp_path / name).glob("rows-*.npy")}
            assert run("encode", *words, *ENCODER_FLAGS, *flags) == 0
            assert before.items() <= {f: f.stat().st_mtime_ns for f in (tmp_path / name).glob("rows-*.npy")}.items()
    files = {file.name: file.read_bytes() for file in (tmp_path / "one").iterdir()}
    assert len(files) == 13 and files == {file.name: file.read_bytes() for file in (tmp_path / "many").iterdir()}


def test_search_on_a_cluster_finds_what_one_process_finds(nodes, tmp_path):
    vectors = np.random.default_rng(1).normal(size=(12_000, 16)).astype(np.float32)[np.arange(12_000) // 2]
    make_embeddings(tmp_path / "e", vectors, [f"d{i}" for i in range(12_000)], encoder=UNKNOWN)
    for name, shards in (("few", 3), ("whole", None)):
        jpq.build_index(tmp_path / "e", tmp_path / name, options=jpq.IndexOptions(m=4, sample=300, shards=shards))
    queries = vectors[:7] + 1
    right = jpq.Index(tmp_path / "whole").batch_search(queries, 30)
    for name in ("few", "whole"):
        index = jpq.Index(tmp_path / name, cluster=Cluster("auto", actors=2, resources={"num_cpus": 0.5}))
        found = index.batch_search(queries, 30)
        assert [[(h.docid, h.score) for h in of] for of in found] == [[(h.docid, h.score) for h in of] for of in right]
        assert np.isfinite(index._now.engine.reconstruct(np.array([0, 11_999]))).all()
        with Indexes({"x": tmp_path / name}, cluster=Cluster("auto", actors=2, resources={"num_cpus": 0.1})) as served:
            hits = served["x"].submit(queries, 30).result(60)
        assert [[(h.docid, h.score) for h in of] for of in hits] == [[(h.docid, h.score) for h in of] for of in right]
    with pytest.raises(JPQError, match="was changed"):
        another = _reopened, (tmp_path / "few", {"0/index": "of another"}, "cpu", None, None, None)
        Cluster("auto", resources={"num_cpus": 0.1}).start(ShardSearcher, [(another, range(1))])


def test_killed_actors_and_nodes_are_made_good(nodes, tmp_path, monkeypatch):
    cluster, others = nodes
    pool = Cluster("auto", actors=3)
    numbers = losing(range(100, 180), pool, monkeypatch, (15, 30), (45, lambda: cluster.remove_node(others.pop())))
    assert sorted(pool.map(Squares, (str(tmp_path),), numbers)) == [number**2 for number in range(100, 180)]
    begun = {int(file.name): len(file.read_text()) for file in tmp_path.iterdir()}
    assert set(begun) == set(range(100, 180)) and 2 <= pool.lost <= 4
    assert sum(begun.values()) - 80 <= pool.again <= pool.lost  # only what was lost was begun twice
    with pytest.raises(JPQError, match=r"^13 is unlucky$"):
        list(pool.map(Squares, (str(tmp_path),), [13]))
