"""What an index, a card, an archive or a pickle of others tries, and the one line that it gets."""

import json
import pickle
import shutil
from pathlib import Path

import faiss
import numpy as np
import pytest
import yaml

from pyserini_jpq.cards import parse_encoder_card, read_encoder_card
from pyserini_jpq.encode.source import noted_encoder
from pyserini_jpq.encode.weights import check_folder
from pyserini_jpq.errors import EncoderError, ExperimentError, IndexFolderError
from pyserini_jpq.index.docids import Docids
from pyserini_jpq.index.encoders import query_encoder_source
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.trust.arrays import open_npy, safetensors_header
from pyserini_jpq.trust.faiss_file import faiss_layout
from pyserini_jpq.trust.frames import read_encoded_queries
from pyserini_jpq.trust.places import package_folder, place_beside, remember_folder
from tests.conftest import make_encoder, make_index

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    vectors = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)
    return make_index(tmp_path_factory.mktemp("project") / "indexes" / "x", vectors, [f"d{i}" for i in range(300)])


@pytest.fixture
def mine(index, tmp_path, monkeypatch):
    """A copy in a project of its own, which is the folder one works in."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(index, tmp_path / "indexes" / "x"))


def change(folder: Path, **fields: object) -> None:
    path = folder / "jpq.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def entry(card: object, **fields: object) -> dict[str, object]:
    return {"name": "tiny", "card": card, "sha256": "0" * 64, **fields}


@pytest.mark.parametrize(
    "fields",
    [
        {"documents": True},
        {"documents": 1.0},
        {"dimension": -16},
        {"m": 0},
        {"m": 3},
        {"bits": 64},
        {"metric": "l2"},
        {"metric": ["inner_product"]},
        {"training": [1]},
        {"training": "x"},
        {"embeddings": 7},
        {"embeddings": ["x"]},
        {"initial_centroids_known": "yes"},
        {"files": {"index": {"bytes": "1", "sha256": "0" * 64}}},
        {"files": {"../index": {"bytes": 1, "sha256": "0" * 64}}},
        {"files": {"index": {"bytes": 1, "sha256": 5}}},
        {"query_encoder": entry({}, folder=5)},
        {"query_encoder": entry({}, folder={"a": 1})},
        {"query_encoder": {**entry({}), "name": ["x"]}},
        {"query_encoder": entry("card")},
        {"query_encoder": entry({}, run="x")},
        {"document_encoder": entry([])},
        {"more": 1},
    ],
)
def test_mistyped_fields_of_a_manifest(mine, fields):
    change(mine, **fields)
    with pytest.raises(IndexFolderError, match=r"jpq\.json is damaged"):
        IndexFolder(mine)


@pytest.mark.parametrize(
    "raw", [b"[" * 200_000, b'{"a":' * 100_000, b'{"schema": "\\ud800"}', b"\xff\xfe", b"9" * 5000]
)
def test_manifests_that_are_no_plain_json(mine, raw):
    (mine / "jpq.json").write_bytes(raw)
    with pytest.raises(IndexFolderError, match=r"jpq\.json is damaged \(no JSON") as problem:
        IndexFolder(mine)
    assert len(str(problem.value)) < 600


@pytest.mark.parametrize(
    "card",
    [
        {"backbone": "a/b", "tokenizer_options": {"trust_remote_code": True}},
        {"backbone": "a/b", "tokenizer_options": {"config": "x"}},
        {"backbone": "a/b", "tokenizer_options": {"use_fast": "yes"}},
        {"backbone": "a/b", "sha256": {"../../x": "0" * 64}},
        {"backbone": "a/b", "sha256": {"x": ["y"]}},
        {"backbone": "a/b", "package": ["os"]},
        {"backbone": "/etc"},
        {"backbone": "../../elsewhere/encoder"},
        {"backbone": "./here"},
        {"backbone": "here/encoder"},
        {"backbone": "a/b/c"},
        {"backbone": "http://example.org/x"},
        {"backbone": "a/b", "tokenizer": "/etc"},
        {"backbone": "indexes/x"},
    ],
)
def test_cards_that_an_index_may_not_hold(mine, card, tmp_path):
    (tmp_path / "here" / "encoder").mkdir(parents=True)
    change(mine, query_encoder=entry(card))
    with pytest.raises(EncoderError) as problem:
        query_encoder_source(IndexFolder(mine))
    assert "\n" not in str(problem.value)


def test_what_an_index_names_is_never_fetched(tiny_encoder):
    source = noted_encoder(entry({"backbone": "encoders/new", "weights": "https://example.org/e.tar.gz"}), "jpq.json")
    assert source.card.weights is None and source.local
    remember_folder(tiny_encoder)
    assert noted_encoder(entry({"backbone": str(tiny_encoder)}), "jpq.json").load().dimension == 32
    with pytest.raises(EncoderError, match="not in the cache, and an index fetches nothing"):
        noted_encoder(entry({"backbone": "nobody/has-this"}), "jpq.json").load()


def test_where_an_encoder_of_an_index_may_lie(tmp_path, monkeypatch):
    project, elsewhere = tmp_path / "deep" / "project", tmp_path / "elsewhere"
    for folder in (project / "indexes" / "x" / "own", project / "encoders" / "x", elsewhere / "e"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    index = project / "indexes" / "x"
    for fine in ("own", "../../encoders/x", "../y", "../../encoders/not-yet"):
        assert place_beside(index, fine) == index / fine
    assert place_beside(index, "../../../../elsewhere/e") is not None  # the folder one works in
    monkeypatch.chdir(project)
    (index / "link").symlink_to(elsewhere)
    (project / "indexes" / "out").symlink_to(elsewhere)
    outside = ("/etc", "../../../x", "../../../../elsewhere/e", "own/../../../../..", "..", "", "link/e", "../out/e")
    for wrong in (*outside, "C:\\x", "..\\..\\x", "a\0b"):
        assert place_beside(index, wrong) is None, wrong
    remember_folder(elsewhere / "e")
    assert place_beside(index, "../../../../elsewhere/e") is not None


def test_names_of_encoders_do_not_climb(mine, tmp_path):
    make_encoder(tmp_path / "x")
    (tmp_path / "x" / "encoder.yaml").write_text("backbone: .\n")
    (tmp_path / "encoders").mkdir()
    change(mine, query_encoder={**entry({"backbone": "."}), "name": "../x"})
    with pytest.raises(EncoderError, match="is not at"):
        query_encoder_source(IndexFolder(mine))


def test_a_package_of_a_card_is_not_imported(tmp_path, monkeypatch):
    (tmp_path / "evil" / "model").mkdir(parents=True)
    (tmp_path / "evil" / "__init__.py").write_text("raise SystemExit('ran')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for package in ("evil:model", "numpy:../numpy", "numpy:/etc", "numpy", "numpy:", "../x:y", "os.path:x"):
        assert package_folder(package) is None, package
    assert package_folder("numpy:linalg") == Path(np.__file__).parent / "linalg"


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x]\nb: &b [*a, *a, *a]\nc: [*b, *b]\n",
        "a: &a {x: y}\nb: {<<: *a}\n",
        "backbone: " + "[" * 5000,
        "backbone: !!python/object/apply:os.system [echo]\n",
        "backbone: !!int ''\n",
        "backbone: \"\\ud800\"\n",
        "- a\n",
        "backbone: 2001-01-01\n",
        "backbone: a/b\n? [x]\n: y\n",
        "backbone: a/b\nquery: {max_length: 1.5}\n",
    ],
)  # fmt: skip
def test_cards_that_are_no_plain_yaml(tmp_path, text):
    (tmp_path / "encoder.yaml").write_text(text)
    with pytest.raises(EncoderError) as problem:
        read_encoder_card(tmp_path / "encoder.yaml")
    assert len(str(problem.value)) < 600 and "\n" not in str(problem.value).strip()


def test_a_card_takes_the_options_that_ours_have():
    card = parse_encoder_card({"backbone": "a/b", "tokenizer_options": {"do_lower_case": True}}, "x")
    assert card.tokenizer_options == {"do_lower_case": True}


def with_number(raw: bytes, old: int, new: int, size: int = 8) -> bytes:
    header = raw.index(b"IxPq") + 37 if old == 4096 else 0  # where 1 << 20 stands, which holds the same bytes
    place = raw.index(old.to_bytes(size, "little"), header)
    return raw[:place] + new.to_bytes(size, "little") + raw[place + size :]


@pytest.mark.parametrize("claimed", [2**31, 2**40, 2**61, 2**64 - 1])
@pytest.mark.parametrize("of", ["rotation", "centroids", "codes", "documents"])
def test_claims_of_a_faiss_file_are_compared_before_it_is_read(mine, of, claimed, monkeypatch):
    raw = (mine / "index").read_bytes()
    old = {"rotation": 256, "centroids": 16 * 256, "codes": 1200, "documents": 300}[of]
    (mine / "index").write_bytes(with_number(raw, old, claimed % 2**63 if of == "documents" else claimed))
    monkeypatch.setattr(faiss, "read_index", lambda *_: pytest.fail("faiss was asked"))
    with pytest.raises(IndexFolderError, match="no faiss index, or damaged"):
        IndexFolder(mine).read()


@pytest.mark.parametrize("key", ["PQ4x4np", "OPQ4,PQ4x4np", "IVF4,PQ4x4", "PCA8,PQ4x4np", "IDMap,PQ4x4np", "Flat"])
@pytest.mark.parametrize("documents", [0, 300])
def test_layouts_are_those_that_faiss_writes(tmp_path, key, documents):
    vectors = np.random.default_rng(1).normal(size=(300, 16)).astype(np.float32)
    index = faiss.index_factory(16, key, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    if documents:
        index.add_with_ids(vectors, np.arange(300)) if key.startswith("IDMap") else index.add(vectors)
    faiss.write_index(index, str(tmp_path / "i"))
    layout = faiss_layout(tmp_path / "i")
    assert layout.known and (layout.documents, layout.dimension) == (documents, 16)
    assert key == "Flat" or (layout.m, layout.bits, layout.bytes_per_document) == (4, 4, 2)
    raw = (tmp_path / "i").read_bytes()
    for end in (3, 20, len(raw) // 2, len(raw) - 1):
        (tmp_path / "i").write_bytes(raw[:end])
        with pytest.raises(IndexFolderError, match="no faiss index, or damaged"):
            faiss_layout(tmp_path / "i")


def test_lists_in_another_file_are_refused(tmp_path):
    vectors = np.random.default_rng(1).normal(size=(300, 16)).astype(np.float32)
    index = faiss.index_factory(16, "IVF4,PQ4x4")
    index.train(vectors)
    lists = faiss.OnDiskInvertedLists(4, index.code_size, str(tmp_path / "elsewhere"))
    index.replace_invlists(lists)
    index.add(vectors)
    faiss.write_index(index, str(tmp_path / "i"))
    with pytest.raises(IndexFolderError, match="lie in another file"):
        faiss_layout(tmp_path / "i")


def test_a_wrong_outer_count(mine):
    raw = (mine / "index").read_bytes()
    (mine / "index").write_bytes(with_number(raw, 300, 299))
    with pytest.raises(IndexFolderError, match="two counts of documents"):
        IndexFolder(mine).read()


def test_damaged_arrays(mine, tmp_path):
    path = mine / "initial_centroids.npy"
    raw = path.read_bytes()
    cases = {
        "cut": raw[:-1],
        "shape": raw.replace(b"(4, 256, 4)", b"(9, 256, 4)"),
        "type": raw.replace(b"<f4", b"|O8"),
        "order": raw.replace(b"False", b"True "),
        "deep": raw[:10] + b"(" * (len(raw[10:128])) + raw[128:],
        "none": b"",
    }
    for name, content in cases.items():
        path.write_bytes(content)
        with pytest.raises(IndexFolderError, match="cannot be read"):
            pytest.fail(f"{name}: {open_npy(path, IndexFolderError, 'make it again').shape}")
    np.save(path, np.zeros((2, 256, 4), np.float32))
    with pytest.raises(IndexFolderError, match="bytes"):
        IndexFolder(mine)


def test_docids_that_are_no_text(tmp_path):
    (tmp_path / "docid").write_bytes(b"a\n\xff\xfe\nc\n")
    docids = Docids(tmp_path / "docid", 3)
    for read in (lambda: list(docids), lambda: docids.at(np.array([1])), lambda: docids.at(np.array([7]))):
        with pytest.raises(IndexFolderError, match="make the index again"):
            read()


def test_encoder_folders_that_ask_for_more_than_they_hold(tiny_encoder, tmp_path):
    def refused(part, **config):
        folder = Path(shutil.copytree(tiny_encoder, tmp_path / "e", dirs_exist_ok=True))
        values = json.loads((tiny_encoder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**values, **config}))
        with pytest.raises(EncoderError, match=part):
            check_folder(folder)

    check_folder(tiny_encoder)
    refused("vocab_size", vocab_size=10**9)
    refused("number of layers", num_hidden_layers=10**6)
    refused("number of positions", max_position_embeddings=10**9)
    refused("the width", hidden_size=10**6)
    refused("code that transformers would fetch", attn_implementation="somebody/kernel")
    refused("code that transformers would fetch", quantization_config={"quant_method": "x"})
    folder = tmp_path / "e"
    shutil.copy(tiny_encoder / "config.json", folder)
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(EncoderError, match="adapter of another model"):
        check_folder(folder)
    (folder / "adapter_config.json").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": "../../x"}}))
    with pytest.raises(EncoderError, match="do not lie beside it"):
        check_folder(folder)


def test_code_of_an_encoder_is_refused_without_a_question(tiny_encoder, tmp_path, monkeypatch):
    from pyserini_jpq.cards import EncoderCard
    from pyserini_jpq.encode.encoder import Encoder

    folder = Path(shutil.copytree(tiny_encoder, tmp_path / "e"))
    values = json.loads((folder / "config.json").read_text())
    values |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}}
    (folder / "config.json").write_text(json.dumps(values))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question was asked"))
    with pytest.raises(EncoderError, match="needs code of its own, which is never run"):
        Encoder.load(EncoderCard(backbone=str(folder)))
    assert not (tmp_path / "ran").exists()


def test_safetensors_that_claim_more_than_they_hold(tmp_path):
    for header in (
        b"[]",
        b'{"w": {"dtype": "F32", "shape": [1000000], "data_offsets": [0, 4]}}',
        b'{"w": {"dtype": "F32", "shape": [-1], "data_offsets": [0, -4]}}',
        b'{"w": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}',
        b'{"w": ' + b"[" * 10_000,
    ):
        (tmp_path / "w").write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 4)
        with pytest.raises(EncoderError, match="no safetensors file"):
            safetensors_header(tmp_path / "w", EncoderError)
    (tmp_path / "w").write_bytes((2**60).to_bytes(8, "little") + b"{}")
    with pytest.raises(EncoderError, match="a header of"):
        safetensors_header(tmp_path / "w", EncoderError)


class Evil:
    def __reduce__(self):
        return (print, ("ran",))


def test_encoded_queries_are_a_table_and_nothing_else(tmp_path, capsys):
    import pandas

    path = tmp_path / "embedding.pkl"
    vectors = [np.ones(4, np.float32), np.zeros(4, np.float32)]
    frame = pandas.DataFrame({"id": [1, 2], "text": ["a b", "c"], "embedding": vectors})
    for table in (frame, frame.assign(embedding=[v.tolist() for v in vectors]), frame.astype({"text": object})):
        for protocol in (2, 4, 5):
            path.write_bytes(pickle.dumps(table, protocol=protocol))
            found = read_encoded_queries(path)
            assert list(found) == ["a b", "c"] and found["a b"].tolist() == [1, 1, 1, 1]
    for evil in (Evil(), frame.assign(more=[Evil(), 1])):
        path.write_bytes(pickle.dumps(evil))
        with pytest.raises(EncoderError, match=r"would run builtins\.print when unpickled; nothing of it was run"):
            read_encoded_queries(path)
    for raw in (
        b"",
        b"\x80\x04Nr\xff\xff\xff\x7f.",
        b"\x80\x04\x8e" + (1 << 36).to_bytes(8, "little"),
        pickle.dumps([1]),
    ):
        path.write_bytes(raw)
        with pytest.raises(EncoderError, match="no table of queries"):
            read_encoded_queries(path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("row", "part"),
    [
        ({"command": "rm -rf x"}, "no command of ours"),
        ({"command": "python evil.py"}, "no command of ours"),
        ({"command": "python -m pyserini_evil"}, "no command of ours"),
        ({"steps": [{"output": "/etc/x", "command": "python -m pyserini_jpq.index"}]}, "outside of the folder"),
        ({"scores": {"dev": {"RR@10": "high"}}}, "scores are numbers"),
        ({"scores": {"dev": [1]}}, "scores are numbers"),
        ({"scores": 5}, "scores"),
        ({"within": "x"}, "within"),
        ({"display": ["x"]}, "display"),
    ],
)
def test_experiments_of_others(tmp_path, row, part):
    from pyserini_jpq.reproduce.experiment import check_commands, read_experiment

    topics = {"dev": {"topics": "t", "qrels": "q", "metrics": {"RR@10": "-m recip_rank"}}}
    rows = {"a": {"display": "A", "command": "python -m pyserini_jpq.search", **row}}
    fields = {"title": "t", "description": "d", "page": "p", "topics": topics, "conditions": rows}
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(fields))
    with pytest.raises(ExperimentError, match=part):
        check_commands(read_experiment(str(tmp_path / "x.yaml")))
