"""Files as the authors of JPQ make and publish them, made here with faiss and torch alone."""

import json
from pathlib import Path

import faiss
import numpy as np
import torch


def authors_index(vectors, m: int):
    """Train and fill `OPQ{M},IVF1,PQ{M}x8` with faiss."""
    index = faiss.index_factory(vectors.shape[1], f"OPQ{m},IVF1,PQ{m}x8", faiss.METRIC_INNER_PRODUCT)
    rotation, ivf = faiss.downcast_VectorTransform(index.chain.at(0)), faiss.downcast_index(index.index)
    # Fewer rounds than faiss would take by itself: what is tested is the file, not the quantizer's quality.
    rotation.niter = rotation.niter_pq = rotation.niter_pq_0 = ivf.pq.cp.niter = 1
    # Only renumbers centroids, on a CPU alone, and takes minutes.
    ivf.do_polysemous_training = False
    index.train(vectors)
    index.add(vectors)
    return index


def train_as_authors(index, m: int) -> None:
    """Do to an index what the authors' training does: add the coarse centroid to the others, then move these."""
    ivf = faiss.downcast_index(index.index)
    coarse = faiss.downcast_index(ivf.quantizer)
    centroids = faiss.vector_to_array(ivf.pq.centroids).reshape(m, 256, -1) + coarse.reconstruct(0).reshape(m, 1, -1)
    centroids += np.random.default_rng(5).normal(scale=0.2, size=centroids.shape).astype(np.float32)
    faiss.copy_array_to_vector(centroids.ravel(), ivf.pq.centroids)
    faiss.copy_array_to_vector(np.zeros(4 * index.d, dtype=np.uint8), coarse.codes)


def robertadot_weights(seed: int = 0, hidden: int = 32, vocabulary: int = 270) -> dict[str, torch.Tensor]:
    """Return random weights, named as transformers 2.x to 4.x named them, with what checkpoints hold beside them."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(*shape, generator=generator) * 0.2

    weights = {
        "roberta.embeddings.position_ids": torch.arange(40)[None],
        "roberta.embeddings.word_embeddings.weight": random(vocabulary, hidden),
        "roberta.embeddings.position_embeddings.weight": random(40, hidden),
        "roberta.embeddings.token_type_embeddings.weight": random(1, hidden),
        "roberta.embeddings.LayerNorm.weight": random(hidden),
        "roberta.embeddings.LayerNorm.bias": random(hidden),
        "roberta.pooler.dense.weight": random(hidden, hidden),
        "roberta.pooler.dense.bias": random(hidden),
        "classifier.dense.weight": random(hidden, hidden),
        "embeddingHead.weight": random(hidden, hidden),
        "embeddingHead.bias": random(hidden),
        "norm.weight": random(hidden),
        "norm.bias": random(hidden),
    }
    layer = "roberta.encoder.layer.0"
    for name, rows, columns in (
        ("attention.self.query", hidden, hidden),
        ("attention.self.key", hidden, hidden),
        ("attention.self.value", hidden, hidden),
        ("attention.output.dense", hidden, hidden),
        ("intermediate.dense", 2 * hidden, hidden),
        ("output.dense", hidden, 2 * hidden),
    ):
        weights[f"{layer}.{name}.weight"], weights[f"{layer}.{name}.bias"] = random(rows, columns), random(rows)
    for name in ("attention.output.LayerNorm", "output.LayerNorm"):
        weights[f"{layer}.{name}.weight"], weights[f"{layer}.{name}.bias"] = random(hidden), random(hidden)
    return weights


def write_checkpoint(folder: Path, weights: dict[str, torch.Tensor] | None = None, **config) -> Path:
    """Write `config.json` and `pytorch_model.bin` as transformers 2.8 with a torch before 1.6 did, and a tokenizer."""
    folder.mkdir(parents=True)
    values = {
        "architectures": ["RobertaDot_NLL_LN"],
        "attention_probs_dropout_prob": 0.1,
        "bos_token_id": 0,
        "do_sample": False,
        "eos_token_ids": 0,
        "finetuning_task": "MSMarco",
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": 32,
        "id2label": {"0": "LABEL_0", "1": "LABEL_1"},
        "initializer_range": 0.02,
        "intermediate_size": 64,
        "is_decoder": False,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 40,
        "model_type": "roberta",
        "num_attention_heads": 2,
        "num_hidden_layers": 1,
        "output_past": True,
        "pad_token_id": 1,
        "pruned_heads": {},
        "return_dict": False,
        "torchscript": False,
        "type_vocab_size": 1,
        "use_bfloat16": False,
        "vocab_size": 270,
    }
    (folder / "config.json").write_text(json.dumps(values | config))
    weights = robertadot_weights() if weights is None else weights
    torch.save(weights, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    return folder


def write_tokenizer(folder: Path) -> Path:
    """Write a byte-level tokenizer in the files of `roberta-base`, without merges: one token a byte."""
    folder.mkdir(exist_ok=True)
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]
    vocabulary = ["<s>", "<pad>", "</s>", "<unk>", *letters, "<mask>"]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return folder


def reference_embedding(weights: dict[str, torch.Tensor], ids: list[int]) -> torch.Tensor:
    """Compute an embedding, [32] float32, from the definition: RoBERTa, its first token, linear, layer norm."""
    from torch.nn import functional

    def linear(x, name):
        return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(x, name):
        return functional.layer_norm(x, (x.shape[-1],), weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-5)

    table = "roberta.embeddings"
    positions = torch.arange(2, 2 + len(ids))
    x = weights[f"{table}.word_embeddings.weight"][torch.tensor(ids)]
    x = (
        x
        + weights[f"{table}.position_embeddings.weight"][positions]
        + weights[f"{table}.token_type_embeddings.weight"][0]
    )
    x = norm(x, f"{table}.LayerNorm")
    layer = "roberta.encoder.layer.0"
    q, k, v = (
        linear(x, f"{layer}.attention.self.{name}").reshape(len(ids), 2, 16).transpose(0, 1)
        for name in ("query", "key", "value")
    )
    mixed = (torch.softmax(q @ k.transpose(1, 2) / 4, dim=-1) @ v).transpose(0, 1).reshape(len(ids), 32)
    x = norm(x + linear(mixed, f"{layer}.attention.output.dense"), f"{layer}.attention.output.LayerNorm")
    inner = functional.gelu(linear(x, f"{layer}.intermediate.dense"))
    x = norm(x + linear(inner, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
    return functional.layer_norm(
        linear(x[0], "embeddingHead"), (32,), weights["norm.weight"], weights["norm.bias"], 1e-5
    )
