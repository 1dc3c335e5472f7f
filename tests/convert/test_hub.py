"""An index to the hub and back, against a server on loopback that speaks the hub's protocol."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import pyserini_jpq as jpq
from pyserini_jpq.convert import hub as ours
from pyserini_jpq.convert.hub_files import is_allowed
from pyserini_jpq.errors import ConversionError, DownloadError, EncoderError, IndexFolderError, OutputError
from tests.conftest import WORDS, run
from tests.convert.hub import Hub

QUERY = " ".join(WORDS[3:6])
REPO = "someone/notes"


def set_endpoint(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Do what HF_ENDPOINT does, which the client reads when it is imported."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # else the client sends by another protocol
    set_endpoint(monkeypatch, "http://127.0.0.1:9")  # whatever forgets the endpoint fails
    server = Hub()
    yield server
    server.close()


@pytest.fixture
def away(built, tmp_path, monkeypatch) -> Path:
    """Stand where nothing of what was built is near, and nothing is noted that was used here before."""
    monkeypatch.setenv("PYSERINI_JPQ_CACHE", str(tmp_path / "cache"))
    (tmp_path / "away" / "deep" / "down").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "away" / "deep" / "down")
    return Path.cwd()


def found(index):
    return [(hit.docid, hit.score, hit.text) for hit in index.search(QUERY)]


@pytest.fixture(scope="module")
def trained(built, tiny_collection, tmp_path_factory):
    """A trained index with texts, and its encoder."""
    folder = tmp_path_factory.mktemp("trained")
    shutil.copytree(built / "x.jpq-m4", folder / "x.jpq-m4")
    shutil.copytree(built / "enc", folder / "enc")
    assert run("index", "--index", folder / "x.jpq-m4", "--texts", tiny_collection) == 0
    return folder / "x.jpq-m4"


@pytest.mark.integration
def test_an_index_goes_to_the_hub_and_comes_back(trained, hub, away):
    index = jpq.Index(trained)
    url = index.push_to_hub(REPO, endpoint=hub.url, private=True, about="## Data\n\nThree hundred documents.")
    repository = hub.repositories[REPO]
    assert url == f"{hub.url}/{REPO}/commit/{repository.commit}" and repository.private
    assert all(is_allowed(name) for name in repository.files)
    assert "encoder/model.safetensors" in repository.files and "blocks" not in repository.files
    back = jpq.Index.from_hub(REPO, endpoint=hub.url)
    assert back.path == Path("indexes/notes") and found(back) == found(index)
    assert (back.path / "blocks").read_bytes() == (trained / "blocks").read_bytes()
    assert sorted(path.name for path in Path("indexes").iterdir()) == ["notes"]
    before = len(hub.requests)
    assert found(jpq.Index("indexes/notes", verify=True)) == found(index) and len(hub.requests) == before


@pytest.mark.integration
def test_nothing_sent_names_a_place_of_this_machine(trained, built, hub):
    for index in (trained, built / "x.opq-m4"):
        hub.repositories.clear()
        jpq.Index(index).push_to_hub(REPO, endpoint=hub.url)
        sent = {name: content for name, (content, _) in hub.repositories[REPO].files.items()}
        texts = [content for name, content in sent.items() if name.endswith((".json", ".md", ".yaml"))]
        assert len(texts) > 4 and not any(str(built.parent).encode() in content for content in texts)


@pytest.mark.integration
def test_the_model_card_says_what_it_is(trained, hub):
    jpq.Index(trained).push_to_hub(REPO, endpoint=hub.url, about="## Data\n\nThree hundred documents.")
    page = hub.repositories[REPO].files["README.md"][0].decode()
    head = yaml.safe_load(page.split("---")[1])
    assert head["library_name"] == "pyserini_jpq"
    training = json.loads((trained / "jpq.json").read_text())["training"]
    for part in (
        "300 documents of\n4 bytes",
        "| bytes a document | 4, where the uncompressed vector takes 128 |",
        "| query encoder | x.jpq-m4 (mean pooling, unit length), in `encoder/` |",
        f"64 queries, 64 judgements, {training['steps']} steps",
        "| nDCG@10 on the dev queries | 0.",
        'index = jpq.Index.from_hub("someone/notes")',
        "Three hundred documents.",
    ):
        assert part in page
    assert len(page.split("```python\n")[1].split("```")[0].strip().splitlines()) == 5


@pytest.mark.integration
def test_an_interrupted_fetch_goes_on(trained, hub, away):
    jpq.Index(trained).push_to_hub(REPO, endpoint=hub.url)
    hub.cut, hub.refused = {"encoder/model.safetensors"}, {"index"}
    with pytest.raises(DownloadError, match=r"someone/notes: index cannot be fetched: .*403"):
        jpq.Index.from_hub(REPO, "x", endpoint=hub.url)
    assert not Path("x").exists() and len(hub.fetched("docid")) == 1
    assert len(hub.fetched("model.safetensors")) == 2  # the client asked again for what was cut short
    hub.refused = set()
    assert found(jpq.Index.from_hub(REPO, "x", endpoint=hub.url)) == found(jpq.Index(trained))
    assert len(hub.fetched("docid")) == 1 and len(hub.fetched("model.safetensors")) == 2
    assert [path.name for path in Path.cwd().iterdir()] == ["x"]
    with pytest.raises(OutputError, match="exists already"):
        jpq.Index.from_hub(REPO, "x", endpoint=hub.url)


@pytest.mark.integration
def test_what_is_sent_again_is_not_sent_twice(trained, hub, tiny_collection, tmp_path):
    folder = tmp_path / "x"
    shutil.copytree(trained, folder)
    shutil.copytree(trained.parent / "enc", tmp_path / "enc")
    jpq.Index(folder).push_to_hub(REPO, endpoint=hub.url)
    sent = [path for method, path, _ in hub.requests if method == "PUT"]
    jpq.Index(folder).delete(["d7"])
    jpq.Index(folder).push_to_hub(REPO, endpoint=hub.url)
    again = [path for method, path, _ in hub.requests if method == "PUT"][len(sent) :]
    weights = hub.repositories[REPO].files["encoder/model.safetensors"][0]
    assert again and not any(hub.large[path.partition("/")[2]] == weights for path in again)
    assert ours.pull(REPO, tmp_path / "y", endpoint=hub.url) and len(jpq.Index(tmp_path / "y")) == 299


@pytest.mark.integration
def test_only_files_on_the_list_are_fetched_and_hashes_are_checked(trained, hub, away, monkeypatch):
    jpq.Index(trained).push_to_hub(REPO, endpoint=hub.url)
    files = hub.repositories[REPO].files
    for name in ("encoder/pytorch_model.bin", "encoder/modeling.py", "training_args.pkl", ".gitattributes", "a/../b"):
        files[name] = b"boom", False
    pulled = jpq.Index.from_hub(f"{REPO}@main", "x", endpoint=hub.url)
    assert found(pulled) == found(jpq.Index(trained))
    there = {path.relative_to(pulled.path).as_posix() for path in Path("x").rglob("*") if path.is_file()}
    assert there == {*(name for name in files if is_allowed(name)), "blocks"}
    content, large = files["index"]
    files["index"] = content[:-1] + bytes([content[-1] ^ 1]), large
    with pytest.raises(IndexFolderError, match="index"):  # the hub's hash fits, that of jpq.json does not
        jpq.Index.from_hub(REPO, "y", endpoint=hub.url)
    files["index"] = content, large
    monkeypatch.setattr("tests.convert.hub.git_sha1", lambda content: "0" * 40)
    with pytest.raises(DownloadError, match=r"someone/notes: \S+ is not the file that the hub lists"):
        jpq.Index.from_hub(REPO, "z", endpoint=hub.url)
    assert not Path("y").exists() and not Path("z").exists()


@pytest.mark.integration
def test_the_command(trained, hub, away, monkeypatch, capsys):
    set_endpoint(monkeypatch, hub.url)
    Path("about.md").write_text("Our figures.")
    flags = ("--private", "--about", "about.md")
    assert run("convert", "--to", "hub", "--index", trained, "--output", REPO, *flags) == 0
    assert "Our figures." in hub.repositories[REPO].files["README.md"][0].decode()
    assert run("convert", "--from", "hub", "--index", REPO, "--output", "x") == 0
    assert len(jpq.Index("x")) == 300
    for words, line in (
        (("--from", "hub", "--index", "nobody/none", "--output", "y"), "nobody/none cannot be fetched"),
        (("--from", "hub", "--index", "notes", "--output", "y"), "give OWNER/NAME"),
        (("--from", "hub", "--index", REPO, "--output", "y", "--docid", "z"), "docid does not go with the hub"),
        (("--from", "hub", "--index", REPO, "--output", "x"), "exists already"),
    ):
        assert run("convert", *words) == 2
        (last,) = [text for text in capsys.readouterr().err.splitlines() if "error" in text][-1:]
        assert line in last


@pytest.mark.integration
def test_what_cannot_be_sent(built, hub, tmp_path):
    import numpy as np

    vectors = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    index = jpq.Index.from_embeddings(vectors, path=tmp_path / "v", m=4)
    with pytest.raises(EncoderError, match="names no query encoder"):
        index.push_to_hub(REPO, endpoint=hub.url)
    with pytest.raises(OutputError, match="cannot be written"):
        jpq.Index(built / "x.opq-m4").push_to_hub("a/b/c", endpoint=hub.url)
    assert not hub.repositories
    with pytest.raises(ConversionError, match="OWNER/NAME"):
        jpq.Index.from_hub("notes", endpoint=hub.url)


@pytest.mark.unit
@pytest.mark.parametrize(
    "name",
    ["pytorch_model.bin", "encoder/../index", "/index", "encoder", "texts.01", "encoder/1_Pooling/x.py", "x.pkl", ""],
)
def test_what_is_not_on_the_list(name):
    assert not is_allowed(name)
