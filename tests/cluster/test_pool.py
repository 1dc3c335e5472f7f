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
from pyserini_jpq.errors import InstallationError, JPQError
from tests.conftest import ENCODER_FLAGS, make_embeddings, run

pytestmark = pytest.mark.integration


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


def test_encoding_on_a_cluster_gives_the_bytes_of_one_process(
    nodes, tiny_collection, tiny_encoder, tmp_path, monkeypatch
):
    from pyserini_jpq.encode import document

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
    make_embeddings(tmp_path / "e", vectors, [f"d{i}" for i in range(12_000)])
    for name, shards in (("few", 3), ("whole", None)):
        jpq.build_index(tmp_path / "e", tmp_path / name, options=jpq.IndexOptions(m=4, sample=300, shards=shards))
    queries = vectors[:7] + 1
    right = jpq.Index(tmp_path / "whole").batch_search(queries, 30)
    for name in ("few", "whole"):
        index = jpq.Index(tmp_path / name, cluster=Cluster("auto", actors=2, resources={"num_cpus": 0.5}))
        found = index.batch_search(queries, 30)
        assert [[(h.docid, h.score) for h in of] for of in found] == [[(h.docid, h.score) for h in of] for of in right]
        assert np.isfinite(index._now.engine.reconstruct(np.array([0, 11_999]))).all()


def test_killed_actors_and_nodes_are_made_good(nodes, tmp_path, monkeypatch):
    import ray

    cluster, others = nodes
    pool, actors = Cluster("auto", actors=3), []
    start = pool._start
    monkeypatch.setattr(pool, "_start", lambda *args: (start(*args), actors.append(list(args[2].values())[-1][0])))

    def pieces():
        for number in range(100, 180):
            if number in (115, 130):
                ray.kill(actors[number % 2])
            if number == 145:
                cluster.remove_node(others.pop())
            yield number

    assert sorted(pool.map(Squares, (str(tmp_path),), pieces())) == [number**2 for number in range(100, 180)]
    begun = {int(file.name): len(file.read_text()) for file in tmp_path.iterdir()}
    assert set(begun) == set(range(100, 180)) and 2 <= pool.lost <= 4
    assert sum(begun.values()) - 80 <= pool.again <= pool.lost  # only what was lost was begun twice
    with pytest.raises(JPQError, match=r"^13 is unlucky$"):
        list(pool.map(Squares, (str(tmp_path),), [13]))
