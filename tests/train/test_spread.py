"""Codes spread over processes: each holds its part, and training is that with whole codes, bit for bit."""

import json
import os
import secrets
import traceback
from datetime import timedelta

import numpy as np
import pytest
import torch

from pyserini_jpq.scan.scanner import KERNEL_VARIABLE
from pyserini_jpq.train import search
from pyserini_jpq.train.distributed import Ranks
from pyserini_jpq.train.model import JPQModel
from pyserini_jpq.train.search import TorchSearch, index_search, search_shared
from pyserini_jpq.train.spread import Part
from tests.conftest import ENCODER_FLAGS, make_encoder, run
from tests.processes import forked
from tests.train.helpers import assert_same, tiny_model

# 64 queries: the last batch of 17 has 13, which three processes take in 3, 2 and 2 parts, the last one of 9 has 1.
WORLDS = {
    2: {
        "live": ["--search-every", 3, "--in-batch-negatives", "yes"],
        "static": ["--negatives", "static"],
    },
    3: {
        "live": ["--accumulate", 3, "--dev"],
        "every": ["--search-every", 3, "--batch-size", 9],
        "random": ["--negatives", "random", "--loss-scores", "original", "--batch-size", 9],
    },
}


def as_ranks(world, folder, function):
    """Call a function in processes that are joined as by torchrun."""

    store = f"file://{folder / f'store-{secrets.token_hex(4)}'}"  # the addresses in one that was used are dead

    def of_rank(rank):
        os.environ.update(RANK=str(rank), WORLD_SIZE=str(world))
        how = {"init_method": store, "rank": rank, "world_size": world, "timeout": timedelta(seconds=60)}
        torch.distributed.init_process_group("gloo", **how)
        Ranks.leave = lambda self: None  # several trainings, one after the other
        try:
            return function(rank)
        except BaseException:
            traceback.print_exc()
            raise

    children = [forked(lambda rank=rank: of_rank(rank), wait=False) for rank in range(world)]
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * world


@pytest.fixture(scope="module")
def train(tiny_collection, tmp_path_factory):
    """Train the index of a tiny encoder, without dropout, to a folder."""
    folder, corpus = tmp_path_factory.mktemp("spread"), tiny_collection / "documents.jsonl"
    encoder = make_encoder(folder / "tiny", dropout=0.0)
    assert run("encode", "--corpus", corpus, "--encoder", encoder, "--output", folder / "e", *ENCODER_FLAGS) == 0
    assert run("index", "--embeddings", folder / "e", "--output", folder / "x.opq-m4", "--m", 4) == 0

    def training(name, *more):
        files = {f"--{k}": tiny_collection / f"{k}.train.{e}" for k, e in (("topics", "tsv"), ("qrels", "txt"))}
        if "--dev" in more:
            more = [word for word in more if word != "--dev"]
            files |= {f"--dev-{k}": tiny_collection / f"{k}.dev.{e}" for k, e in (("topics", "tsv"), ("qrels", "txt"))}
        words = ["--index", folder / "x.opq-m4", "--output", folder / name / "x", "--device", "cpu", "--epochs", 1]
        words += ["--output-encoder", folder / name / "enc", "--dtype", "float32", "--batch-size", 17]
        words += [word for pair in files.items() for word in pair]
        return run("train", *words, "--num-negatives", 20, "--log-every", 1, "--threads", 1, *more)

    return folder, training


def losses(folder):
    lines = map(json.loads, (folder / "x" / "training.jsonl").read_text().splitlines())
    return [[line.get("loss"), line.get("dev")] for line in lines]


def numbers(folder):
    return np.array(losses(folder), dtype=float)


@pytest.mark.integration
@pytest.mark.parametrize("world", WORLDS)
def test_spread_codes_train_as_whole_ones(train, world):
    from pyserini_jpq.train import dev, setup

    folder, training = train
    load = setup.load_model

    def noted(*args):
        model = load(*args)
        (folder / f"held-{world}-{os.environ['RANK']}").write_text(str(len(model.codes)))
        return model

    def both(rank):
        dev._BATCH, setup.load_model = 3, noted
        for name, flags in WORLDS[world].items():
            for spread in ("no", "yes"):
                if training(f"{name}-{world}-{spread}", "--spread-codes", spread, *flags):
                    return 1
        return 0

    as_ranks(world, folder, both)
    for name in WORLDS[world]:
        one, other = (folder / f"{name}-{world}-{spread}" for spread in ("no", "yes"))
        assert_same(one, other)
        assert losses(one) == losses(other) and len(losses(one)) > 3
    held = [int((folder / f"held-{world}-{rank}").read_text()) for rank in range(world)]
    assert held == [300 // world] * world


@pytest.mark.integration
def test_spread_codes_train_as_one_process(train, monkeypatch):
    from pyserini_jpq.train import dev

    folder, training = train
    monkeypatch.setattr(dev, "_BATCH", 3)
    assert training("one", "--dev") == 0
    as_ranks(2, folder, lambda rank: training("two", "--spread-codes", "yes", "--dev"))
    assert numbers(folder / "two") == pytest.approx(numbers(folder / "one"), rel=1e-4, nan_ok=True)


@pytest.mark.integration
def test_an_interrupted_training_goes_on_with_codes_spread_otherwise(train, capfd):
    from pyserini_jpq.train.trainer import Trainer

    folder, training = train
    step = Trainer.step
    flags = ["--search-every", 3, "--checkpoint-every", 2]

    def stopped(self, batch):
        if self.step_number == 3:
            raise MemoryError
        return step(self, batch)

    def interrupted(rank):
        assert training("right", "--spread-codes", "no", *flags) == 0
        Trainer.step = stopped
        with pytest.raises(MemoryError):
            training("again", "--spread-codes", "yes", *flags)
        Trainer.step = step
        return training("again", "--spread-codes", "no", *flags)

    as_ranks(2, folder, interrupted)
    assert_same(folder / "right", folder / "again")
    assert "going on after step 2 of 4" in capfd.readouterr().err


@pytest.mark.unit
@pytest.mark.parametrize(("documents", "k"), [(50, 7), (50, 30), (50, 60), (4, 3)])
def test_hits_of_parts_are_those_of_the_whole(tmp_path, monkeypatch, documents, k):
    monkeypatch.setattr(search, "_AT_ONCE", 4)
    whole, quantizer, codes = tiny_model(documents)
    queries = torch.from_numpy(np.random.default_rng(1).normal(size=(12, 12)).astype(np.float32))

    def searched(rank):
        part = Part(Ranks(rank, 3), documents)
        model = JPQModel(torch.nn.Identity(), quantizer, codes[part.rows.start : part.rows.stop], part)
        own = queries[: (6, 0, 9)[rank]]  # in turns of four
        rows = index_search(model).search(own, k)
        assert torch.equal(rows, TorchSearch(whole).search(own, k))
        assert torch.equal(model.score(own, rows), whole.score(own, rows))
        assert torch.equal(
            search_shared(index_search(model), part.ranks, queries, k), TorchSearch(whole).search(queries, k)
        )
        monkeypatch.setenv(KERNEL_VARIABLE, "off")
        assert isinstance(index_search(model)._own, TorchSearch)
        assert torch.equal(index_search(model).search(own, k), rows)

    as_ranks(3, tmp_path, searched)


@pytest.mark.unit
def test_parts_cover_all_documents():
    parts = [Part(Ranks(rank, 3), 10) for rank in range(3)]
    assert [row for part in parts for row in part.rows] == list(range(10))


@pytest.mark.unit
def test_one_process_holds_all():
    model, _, _ = tiny_model()
    part, rows = Part(Ranks(), 50), torch.tensor([[3, 49, 3], [0, 7, 8]])
    assert torch.equal(part.codes(model.codes, rows), model.codes[rows])
    assert part.codes(model.codes, rows[:0]).shape == (0, 3, 4)
