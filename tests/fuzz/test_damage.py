"""Files damaged at random: the outcome is right or one line, and memory stays near the size of the file.

Every case runs in a forked child with a limit on memory, so that a crash of faiss is seen, and ends no test run. The
default takes seconds; `make fuzz` goes on for PYSERINI_JPQ_FUZZ_SECONDS.
"""

import gzip
import io
import json
import os
import pickle
import resource
import shutil
import sys
import tarfile
import time
import traceback
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pyserini_jpq.errors import JPQError
from tests.conftest import make_embeddings, make_index
from tests.processes import limit_memory

pytestmark = [pytest.mark.property, pytest.mark.skipif(sys.platform != "linux", reason="limits memory by /proc")]

SECONDS = float(os.environ.get("PYSERINI_JPQ_FUZZ_SECONDS", "10"))
CONSTANT = 300 << 20
FINE, REFUSED, BAD = 0, 1, 2


def mutated(data: bytes, changes: list[tuple[str, float, int]]) -> bytes:
    """Apply changes, each of a kind, at a place between 0 and 1, with a number."""
    for kind, place, number in changes:
        at = int(place * len(data))
        if kind == "flip":
            data = data[:at] + bytes([number % 256]) + data[at + 1 :]
        elif kind == "cut":
            data = data[:at]
        elif kind == "insert":
            data = data[:at] + number.to_bytes(8, "little") + data[at:]
        elif kind == "number":  # where sizes stand
            at -= at % 4
            data = data[:at] + number.to_bytes(8, "little") + data[at + 8 :]
        elif kind == "repeat":
            data = data[:at] + data[at : at + 64] * (number % 500) + data[at:]
        elif kind == "deep":
            data = data[:at] + b"[" * 100_000 + data[at:]
        elif kind == "digit":
            digits = [i for i, byte in enumerate(data[:100_000]) if 48 <= byte <= 57]
            if digits:
                at = digits[int(place * len(digits))]
                data = data[:at] + str(number).encode() + data[at + 1 :]
        elif kind == "word":
            words = (
                b"null",
                b"true",
                b"[]",
                b"{}",
                b'"../../x"',
                b"-1",
                b"1e999",
                b"\xff\xfe",
                b'"\\ud800"',
                b"&a [*a]",
            )
            data = data[:at] + words[number % len(words)] + data[at:]
    return data


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut", "insert", "number", "repeat", "deep", "digit", "word"]),
        st.one_of(st.floats(0, 0.999), st.floats(0, 0.02)),
        st.one_of(st.integers(0, 300), st.sampled_from([2**31 - 1, 2**31, 2**33, 2**62, 2**63 - 1, 2**64 - 1])),
    ),
    min_size=1,
    max_size=3,
)


def outcome(read: Callable[[Path], object], place: Path, size: int) -> tuple[int, str]:
    """Read in a forked child; returns how it went, and what it said."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receive)
        status, text = BAD, ""
        try:
            devnull = os.open(os.devnull, os.O_WRONLY)
            os.dup2(devnull, 1)
            os.dup2(devnull, 2)
            limit_memory(2 * size + CONSTANT)
            resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
            try:
                read(place)
                status = FINE
            except JPQError as problem:
                status, text = REFUSED, str(problem)
        except BaseException:
            text = traceback.format_exc()
        finally:
            os.write(send, text.encode(errors="replace")[-4000:])
            os._exit(status)
    os.close(send)
    with open(receive, "rb") as pipe:
        text = pipe.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    return (os.waitstatus_to_exitcode(status), text)


def read_index(folder: Path) -> None:
    from pyserini_jpq.index.docids import Docids
    from pyserini_jpq.index.faiss_format import quantizer_of, stored_codes
    from pyserini_jpq.index.folder import IndexFolder
    from pyserini_jpq.index.ivf_file import read_ivf
    from pyserini_jpq.index.manifest import DOCID

    opened = IndexFolder(folder)
    whole = opened.read()
    stored_codes(whole, folder)
    quantizer_of(whole, folder)
    opened.initial_centroids()
    list(Docids(folder / DOCID, opened.manifest.documents))
    query = np.ones((1, opened.manifest.dimension), dtype=np.float32)
    whole.search(query, 5)
    if (lists := read_ivf(opened, whole)) is not None:
        lists.search(query, 5)


def read_query_encoder(folder: Path) -> None:
    from pyserini_jpq.index.encoders import query_encoder_source
    from pyserini_jpq.index.folder import IndexFolder

    query_encoder_source(IndexFolder(folder))


def read_blocks(folder: Path) -> None:
    from pyserini_jpq.index.blocks import open_blocks
    from pyserini_jpq.index.faiss_format import stored_codes
    from pyserini_jpq.index.folder import IndexFolder

    opened = IndexFolder(folder)
    whole = opened.read()
    open_blocks(folder / "blocks", stored_codes(whole, folder))


def read_embeddings(folder: Path) -> None:
    from pyserini_jpq.encode.embeddings import Embeddings

    opened = Embeddings(folder)
    list(opened.blocks(100))
    list(opened.docids())


def read_card(path: Path) -> None:
    from pyserini_jpq.cards import read_encoder_card

    read_encoder_card(path)


def read_encoder_folder(folder: Path) -> None:
    from pyserini_jpq.encode.weights import check_folder

    check_folder(folder)


def read_experiment(path: Path) -> None:
    from pyserini_jpq.reproduce.experiment import check_commands, read_experiment

    check_commands(read_experiment(str(path)))


def read_queries(path: Path) -> None:
    from pyserini_jpq.trust.frames import read_encoded_queries

    read_encoded_queries(path)


def read_map(path: Path) -> None:
    from pyserini_jpq.trust.unpickle import load_plain_dict

    load_plain_dict(path)


def read_archive(path: Path) -> None:
    from pyserini_jpq.download.archive import unpack

    out = path.parent / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    unpack(path, out)


def read_foreign_index(path: Path) -> None:
    from pyserini_jpq.convert.foreign import read_foreign

    read_foreign(path)


def read_topics(path: Path) -> None:
    from pyserini_jpq.data.topics import read_topics

    read_topics(str(path), "default")


def read_qrels(path: Path) -> None:
    from pyserini_jpq.data.qrels import read_qrels

    read_qrels(str(path))


def read_run(path: Path) -> None:
    from pyserini_jpq.data.runs import read_run

    read_run(str(path))


def read_collection(path: Path) -> None:
    from pyserini_jpq.data.collection import Collection

    collection = Collection(path)
    collection.scan()
    list(collection)


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> dict[str, tuple[Path, Path, Callable[[Path], object]]]:
    """By name: the file that is damaged, what is read, and by what."""
    import faiss
    import pandas
    import yaml

    from pyserini_jpq.encode import weights  # noqa: F401
    from pyserini_jpq.index.blocks import keep_blocks
    from pyserini_jpq.index.folder import IndexFolder
    from pyserini_jpq.index.ivf_file import write_ivf
    from pyserini_jpq.reproduce import experiment  # noqa: F401

    root = tmp_path_factory.mktemp("fuzz")
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(300, 16)).astype(np.float32)
    docids = [f"d{i}" for i in range(300)]
    index = make_index(root / "indexes" / "x", vectors, docids)
    keep_blocks(IndexFolder(index), True)
    write_ivf(IndexFolder(index), 4)
    rows = make_embeddings(root / "embeddings", vectors, docids, rows=100)
    found: dict[str, tuple[Path, Path, Callable[[Path], object]]] = {}
    for name in ("index", "docid", "initial_centroids.npy", "ivf", "jpq.json"):
        found[f"index: {name}"] = (index / name, index, read_index)
    found["index: blocks"] = (index / "blocks", index, read_blocks)
    found["encoder of an index"] = (index / "jpq.json", index, read_query_encoder)
    for name in ("embeddings.json", "rows-0000000100.npy", "rows-0000000100.docid"):
        found[f"embeddings: {name}"] = (rows / name, rows, read_embeddings)

    def alone(name: str, content: bytes | str, read: Callable[[Path], object]) -> None:
        path = root / f"{len(found)}" / name
        path.parent.mkdir()
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        found[name] = (path, path, read)

    card = {"backbone": "a/b", "pooling": "mean", "query": {"max_length": 8}, "tokenizer_options": {"use_fast": True}}
    alone("encoder.yaml", yaml.safe_dump(card), read_card)
    metrics = {"RR@10": "-c -M 10 -m recip_rank"}
    topics = {"dev": {"topics": "t", "qrels": "q", "metrics": metrics}}
    rows_ = {"a": {"display": "A", "command": "python -m pyserini_jpq.search", "scores": {"dev": {"RR@10": 0.3}}}}
    fields = {"title": "t", "description": "d", "page": "p", "topics": topics, "conditions": rows_}
    alone("experiment.yaml", yaml.safe_dump(fields), read_experiment)
    frame = pandas.DataFrame({"id": [1, 2], "text": ["a", "b"], "embedding": list(vectors[:2])})
    alone("embedding.pkl", pickle.dumps(frame, protocol=4), read_queries)
    alone("map.pickle", pickle.dumps({f"d{i}": i for i in range(50)}, protocol=4), read_map)
    alone("a.zip", archive("zip"), read_archive)
    alone("a.tar", archive("tar"), read_archive)
    alone("a.tar.gz", gzip.compress(archive("tar")), read_archive)
    alone("topics.tsv", "q1\thow are you\nq2\tfine\n", read_topics)
    alone("topics.jsonl", '{"qid": "1", "text": "how"}\n', read_topics)
    alone("qrels.txt", "q1 0 d1 1\nq2 0 d2 0\n", read_qrels)
    alone("run.txt", "q1 Q0 d1 1 3.5 x\nq1 Q0 d2 2 2.5 x\n", read_run)
    alone(
        "documents.jsonl", '{"id": "d1", "title": "t", "text": "x"}\n{"id": "d2", "contents": "y"}\n', read_collection
    )
    flat = faiss.IndexFlatIP(16)
    flat.add(np.zeros((1, 16), np.float32))
    plain, lists = faiss.IndexPQ(16, 4, 8), faiss.IndexIVFPQ(flat, 16, 1, 4, 8, faiss.METRIC_INNER_PRODUCT)
    for foreign in (plain, lists):  # not trained, which takes seconds
        faiss.copy_array_to_vector(vectors[:256].ravel(), foreign.pq.centroids)
        foreign.is_trained = True
    mapped = faiss.IndexIDMap(plain)
    mapped.add_with_ids(vectors, np.arange(300))
    lists.add(vectors)
    alone("mapped.index", faiss.serialize_index(mapped).tobytes(), read_foreign_index)
    alone("lists.index", faiss.serialize_index(lists).tobytes(), read_foreign_index)
    encoder = root / "encoder"
    encoder.mkdir()
    from safetensors.numpy import save_file

    save_file({"w": vectors[:, :8].copy(), "x": vectors}, encoder / "model.safetensors")
    (encoder / "config.json").write_text(json.dumps({"hidden_size": 16, "vocab_size": 30, "num_hidden_layers": 1}))
    for name in ("model.safetensors", "config.json"):
        found[f"encoder: {name}"] = (encoder / name, encoder, read_encoder_folder)
    return found


def archive(kind: str) -> bytes:
    raw = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as out:
            out.writestr("m/config.json", b"{}" * 50)
        return raw.getvalue()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        info = tarfile.TarInfo("m/config.json")
        info.size = 100
        tar.addfile(info, io.BytesIO(b"{}" * 50))
    return raw.getvalue()


def listed_again(file: Path) -> None:
    """Let the list of files in `jpq.json` tell the size of a damaged one, as whoever damages it by intent would."""
    manifest = file.parent / "jpq.json"
    if manifest.is_file() and file != manifest:
        values = json.loads(manifest.read_text())
        values["files"][file.name] = {"bytes": file.stat().st_size, "sha256": "0" * 64}
        manifest.write_text(json.dumps(values))


def test_whole_files_are_read(places):
    for name, (file, place, read) in places.items():
        status, text = outcome(read, place, file.stat().st_size)
        assert status == FINE, (name, text)


def attack(file: Path, place: Path, read: Callable[[Path], object], seconds: float) -> list[str]:
    """Damage one file again and again for some seconds; returns what went wrong, first of all."""
    kept = {path: path.read_bytes() for path in (file, file.parent / "jpq.json") if path.is_file()}
    end = time.monotonic() + seconds
    wrong: list[str] = []

    @settings(
        max_examples=max(5, int(seconds * 50)),
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(changes=CHANGES)
    def damage(changes: list[tuple[str, float, int]]) -> None:
        if wrong or time.monotonic() > end:
            return
        damaged = mutated(kept[file], changes)
        file.write_bytes(damaged)
        listed_again(file)
        try:
            status, text = outcome(read, place, len(damaged))
        finally:
            for path, content in kept.items():
                path.write_bytes(content)
        if status not in (FINE, REFUSED) or "\n" in text.strip():
            wrong.append(f"{changes}: status {status}\n{text}")

    damage()
    return wrong


def test_damaged_files_are_one_line_or_right(places):
    found = {name: attack(*place, SECONDS / len(places)) for name, place in places.items()}
    wrong = {name: problems[0] for name, problems in found.items() if problems}
    assert not wrong, "\n".join(f"--- {name}: {problem}" for name, problem in wrong.items())
