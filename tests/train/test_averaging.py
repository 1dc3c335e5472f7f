"""What is written lies between the weights before and after training, as far along as held-out queries say."""

import json

import numpy as np
import pytest
import torch

from pyserini_jpq.index.faiss_format import from_faiss
from pyserini_jpq.index.faiss_io import read_faiss
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.train import averaging
from pyserini_jpq.train.averaging import SHARES, USUAL, average, best, hold_out, preferred, trained_weights
from tests.conftest import run
from tests.train.helpers import query, tiny_model


@pytest.mark.unit
def test_a_tenth_is_held_out():
    queries = [query(qid=str(i)) for i in range(400)]
    training, held_out = hold_out(queries, seed=1)
    assert len(held_out) == 40 and {q.qid for q in training} | {q.qid for q in held_out} == {q.qid for q in queries}
    assert [q.qid for q in training] == sorted((q.qid for q in training), key=int)
    assert [q.qid for q in hold_out(queries, seed=1)[1]] == [q.qid for q in held_out]
    assert [q.qid for q in hold_out(queries, seed=2)[1]] != [q.qid for q in held_out]
    assert hold_out(queries[:300], seed=1) == (queries[:300], []), "too few to choose by"
    assert len(hold_out(queries * 100, seed=1)[1]) == averaging.MOST


@pytest.mark.unit
def test_another_share_than_the_usual_must_be_clearly_better():
    rng = np.random.default_rng(0)
    usual = rng.random(100)
    for share in SHARES:
        clearly = {of: usual + (of == share) * (0.1 + 0.1 * rng.random(100)) for of in SHARES}
        assert preferred(clearly) == best(clearly) == share
    barely = {of: usual + (of == 1) * (0.01 + rng.normal(size=100)) for of in SHARES}
    assert preferred(barely) == USUAL
    same = dict.fromkeys(SHARES, usual)
    assert preferred(same) == USUAL and best(same) == 1


@pytest.mark.unit
def test_weights_are_mixed():
    model, quantizer, _ = tiny_model()
    model.biases.requires_grad_(False)
    seen = []

    def measure():
        seen.append(model.centroids.detach().numpy().copy())
        return np.full(9, -abs(len(seen) - 3.0))  # the third is best

    def trained_by(share, measure=None):
        model.load_state_dict(before)
        start = trained_weights(model)
        with torch.no_grad():
            model.centroids.add_(1)
            model.biases.add_(1)
        kept, means = average(model, start, share, measure, best)
        return kept, means, model.centroids.detach().numpy() - quantizer.centroids

    before = {name: value.clone() for name, value in model.state_dict().items()}
    kept, means, change = trained_by(0.25)
    assert kept == 0.25 and means == {} and np.allclose(change, 0.25, atol=1e-6)
    assert (model.biases == 1).all(), "what has no gradient is not touched"
    kept, means, change = trained_by(None)
    assert kept == USUAL and means == {} and np.allclose(change, USUAL, atol=1e-6)
    kept, means, change = trained_by(None, measure)
    assert kept == SHARES[2] and list(means) == list(SHARES) and means[kept] == 0.0
    assert np.allclose(change, SHARES[2], atol=1e-6)
    for share, centroids in zip(SHARES, seen, strict=True):
        assert np.allclose(centroids - quantizer.centroids, share, atol=1e-6)
    assert np.array_equal(trained_by(1.0)[2], (quantizer.centroids + 1) - quantizer.centroids), "the end itself"


@pytest.mark.integration
def test_training_with_sparse_labels_keeps_a_part(built, tiny_collection, tmp_path, monkeypatch, capsys):
    def centroids(name, *words):
        base = [
            "--index",
            built / "x.opq-m4",
            "--output",
            tmp_path / name,
            "--output-encoder",
            tmp_path / f"{name}.enc",
        ]
        base += ["--topics", tiny_collection / "topics.train.tsv", "--qrels", tiny_collection / "qrels.train.txt"]
        assert run("train", *base, "--epochs", 2, "--num-negatives", 20, "--device", "cpu", *words) == 0
        folder = IndexFolder(tmp_path / name)
        return from_faiss(read_faiss(folder.path / "index"), "index")[0].centroids, folder.manifest.training

    start = from_faiss(read_faiss(built / "x.opq-m4" / "index"), "index")[0].centroids
    whole, training = centroids("whole", "--trained-share", 1)
    assert training["trained_share"] == 1.0 and training["by_trained_share"] == {}
    part, training = centroids("part")
    assert training["trained_share"] == USUAL and np.allclose(part - start, USUAL * (whole - start), atol=1e-6)
    dev = ["--dev-topics", tiny_collection / "topics.dev.tsv", "--dev-qrels", tiny_collection / "qrels.dev.txt"]
    _, training = centroids("dev", *dev)
    means = {float(share): mean for share, mean in training["by_trained_share"].items()}
    assert means[training["trained_share"]] == max(means.values())
    assert max(means.values()) >= max(point["dev"] for point in training["history"])
    capsys.readouterr()
    monkeypatch.setattr(averaging, "FEWEST", 4)
    _, training = centroids("held")
    said = capsys.readouterr().err
    assert "64 queries with 64 relevant documents (6 held out)" in said
    assert f"kept {training['trained_share']:g} of what training changed; nDCG@10 by share: 0.25: " in said
    assert json.loads(json.dumps(training["by_trained_share"])) == training["by_trained_share"]
    assert len(training["by_trained_share"]) == len(SHARES)


@pytest.mark.unit
@pytest.mark.parametrize("share", ["0", "1.5", "-1", "half"])
def test_shares_out_of_range_are_refused(share, capsys):
    assert run("train", "--trained-share", share) == 2
    assert "--trained-share" in capsys.readouterr().err
