"""Folders of sentence-transformers, encoded without a flag as that package does."""

import json

import numpy as np
import pytest
import torch

from pyserini_jpq.encode.source import find_encoder
from pyserini_jpq.errors import EncoderError
from tests.conftest import WORDS
from tests.encode.models import KINDS, make_model

pytestmark = pytest.mark.integration
TEXTS = ["bado", "Kefa BADO ligi", " ".join(WORDS), "mofa rado", " ".join(WORDS * 3)]
MODES = ("mean", "cls", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken", ["cls", "mean"])


def ours(folder, texts, side="query", **changes):
    source = find_encoder(str(folder))
    encoder = (source.with_changes(changes) if changes else source).load()
    with torch.inference_mode():
        rows = encoder.tokenize(texts, getattr(encoder.card, side))
        return encoder(*encoder.pad(rows)).numpy()


def theirs(folder, texts, **options):
    st = pytest.importorskip("sentence_transformers")
    # One by one: beside longer texts, padding on the left moves the positions of some models.
    model = st.SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})
    return np.concatenate([model.encode([text], **options) for text in texts])


def make_folder(folder, kind="bert", pooling="mean", after=("Normalize",), seed=0, **options):
    """Write a model of a kind with sentence-transformers itself."""
    st = pytest.importorskip("sentence_transformers")
    from sentence_transformers.sentence_transformer.modules import Dense, LayerNorm, Normalize, Pooling, Transformer

    torch.manual_seed(seed)
    lengths = options.pop("lengths", {})
    include = options.pop("include_prompt", True)
    padding = options.pop("padding_side", "right")
    base = make_model(folder.with_name(f"{folder.name}-base"), kind, seed, padding)
    width = 32 * (1 if isinstance(pooling, str) else len(pooling))
    chain = [Transformer(str(base), **lengths), Pooling(32, pooling, include_prompt=include)]
    for name in after:
        if name.startswith("Dense"):
            _, activation, bias, outputs = name.split(":")
            activate = getattr(torch.nn, activation)()
            chain.append(Dense(width, int(outputs), bias == "bias", activate))
            width = int(outputs)
        else:
            chain.append(Normalize() if name == "Normalize" else LayerNorm(width))
    st.SentenceTransformer(modules=chain, device="cpu", **options).save(str(folder))
    return folder


@pytest.mark.parametrize(("kind", "number"), [(kind, number) for number, kind in enumerate(KINDS)])
def test_every_architecture_with_every_pooling_in_turn(tmp_path, kind, number):
    side = "left" if kind in ("qwen3", "gemma3") else "right"
    folder = make_folder(tmp_path / "st", kind, MODES[number % len(MODES)], seed=number, padding_side=side)
    expected = theirs(folder, TEXTS)
    np.testing.assert_allclose(ours(folder, TEXTS), expected, atol=1e-5)
    assert np.abs(expected[0] - expected[1]).max() > 1e-2  # a random model that says something


def test_gte_needs_no_code_of_its_publisher(tmp_path):
    """As Snowflake/snowflake-arctic-embed-m-v2.0 is published: packed weights, and code that is not run."""
    from safetensors import safe_open

    folder = make_folder(tmp_path / "st", "gte", "cls")
    with safe_open(folder / "model.safetensors", "pt") as weights:
        assert {"encoder.layer.0.attention.qkv_proj.weight", "encoder.layer.0.mlp.up_gate_proj.weight"} <= set(
            weights.keys()
        )
    expected = ours(folder, TEXTS)
    config = json.loads((folder / "config.json").read_text())
    config["rope_theta"] = config.pop("rope_parameters", {}).get("rope_theta", 160000)
    (folder / "code.py").write_text("raise SystemExit('run')")
    config |= {"auto_map": {"AutoConfig": "code.GteConfig", "AutoModel": "code.GteModel"}, "pack_qkv": True}
    (folder / "config.json").write_text(json.dumps(config))
    assert np.array_equal(ours(folder, TEXTS), expected)


@pytest.mark.parametrize(
    "after",
    [
        ("Dense:Tanh:bias:16", "Normalize"),
        ("Dense:Identity:none:64", "Dense:Identity:none:24", "Normalize"),
        ("Dense:GELU:bias:32", "LayerNorm"),
        ("Normalize", "Dense:ReLU:bias:20"),
    ],
    ids=str,
)
def test_layers_behind_pooling(tmp_path, after):
    folder = make_folder(tmp_path / "st", after=after)
    np.testing.assert_allclose(ours(folder, TEXTS), theirs(folder, TEXTS), atol=1e-5)


@pytest.mark.parametrize(
    ("pooling", "include_prompt"),
    [("mean", True), ("mean", False), ("cls", False), ("weightedmean", False), (["max", "lasttoken"], False)],
    ids=str,
)
def test_prompts_of_both_sides(tmp_path, pooling, include_prompt):
    prompts = {"query": "bado kefa: ", "passage": "ligi ", "other": "nufa "}
    folder = make_folder(tmp_path / "st", pooling=pooling, prompts=prompts, include_prompt=include_prompt)
    for side, name in (("query", "query"), ("document", "passage")):
        expected = theirs(folder, TEXTS, prompt_name=name)
        np.testing.assert_allclose(ours(folder, TEXTS, side), expected, atol=1e-5)
        assert np.abs(expected - theirs(folder, TEXTS)).max() > 1e-3


def test_a_default_prompt_goes_to_the_sides_without_their_own(tmp_path):
    prompts = {"query": "bado ", "every": "nufa "}
    folder = make_folder(tmp_path / "one", prompts=prompts, default_prompt_name="every")
    card = find_encoder(str(folder)).card
    assert (card.query.prefix, card.document.prefix) == ("bado ", "nufa ")
    folder = make_folder(tmp_path / "two", prompts={"query": "bado "}, default_prompt_name="query")
    card = find_encoder(str(folder)).card
    assert (card.query.prefix, card.document.prefix) == ("bado ", "")


def test_lengths_and_lower_case(tmp_path):
    folder = make_folder(tmp_path / "st", lengths={"max_seq_length": 7, "do_lower_case": True})
    settings = json.loads((folder / "sentence_bert_config.json").read_text())
    (folder / "sentence_bert_config.json").write_text(json.dumps({**settings, "max_seq_length": 5}))
    assert find_encoder(str(folder)).card.query.max_length == 5
    np.testing.assert_allclose(ours(folder, TEXTS), theirs(folder, TEXTS), atol=1e-5)
    assert find_encoder(str(make_folder(tmp_path / "long"))).card.document.max_length == 64


def old_layout(folder, transformer="0_Transformer"):
    """Move what sentence-transformers wrote to where its first versions did, and name it as they did."""
    modules = json.loads((folder / "modules.json").read_text())
    inside = folder / transformer
    inside.mkdir()
    for path in list(folder.iterdir()):
        if path.is_file() and path.name not in ("modules.json", "config_sentence_transformers.json"):
            path.rename(inside / path.name)
    for module in modules:
        module["type"] = f"sentence_transformers.models.{module['type'].rpartition('.')[2]}"
    modules[0]["path"] = transformer
    (folder / "modules.json").write_text(json.dumps(modules))
    modes = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")
    pooling = {f"pooling_mode_{mode}": mode in ("mean_tokens", "max_tokens") for mode in modes}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 32, **pooling}))
    (inside / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 9, "do_lower_case": False}))
    (folder / "config_sentence_transformers.json").unlink()
    return folder


def test_the_layout_of_first_versions(tmp_path):
    after = ("Dense:Tanh:bias:64", "Normalize")
    folder = old_layout(make_folder(tmp_path / "st", pooling=["max", "mean"], after=after))
    card = find_encoder(str(folder)).card
    assert (card.pooling, card.subfolder, card.head) == ("max_tokens+mean", "0_Transformer", "2_Dense")
    np.testing.assert_allclose(ours(folder, TEXTS), theirs(folder, TEXTS), atol=1e-5)


def test_an_index_that_notes_such_a_folder_finds_it_again(tmp_path):
    from pyserini_jpq.encode.source import noted_encoder

    after = ("Dense:Tanh:bias:24", "Normalize")
    folder = old_layout(make_folder(tmp_path / "st", pooling=["max", "mean"], after=after))
    source = find_encoder(str(folder)).with_changes({"truncate_dim": 16})
    entry = json.loads(json.dumps({"name": source.name, "card": source.card.as_dict()}))
    noted = noted_encoder(entry, "jpq.json").load()
    assert noted.card == source.card and noted.weights_sha256() == source.load().weights_sha256()
    assert noted.dimension == 16 and noted.full_dimension == 24


def test_leading_dimensions_get_unit_length_again(tmp_path):
    folder = make_folder(tmp_path / "st")
    expected = theirs(folder, TEXTS, truncate_dim=12, normalize_embeddings=True)
    found = ours(folder, TEXTS, truncate_dim=12)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    settings = json.loads((folder / "config_sentence_transformers.json").read_text())
    (folder / "config_sentence_transformers.json").write_text(json.dumps({**settings, "truncate_dim": 12}))
    assert np.array_equal(ours(folder, TEXTS), found)
    with pytest.raises(EncoderError, match="32 dimensions, which cannot be cut to 33"):
        find_encoder(str(folder)).with_changes({"truncate_dim": 33}).load()


@pytest.mark.parametrize("kind", ["dpr-query", "dpr-context"])
def test_dpr_by_its_own_classes(tmp_path, kind):
    import transformers

    for projection in (0, 24):
        folder = make_model(tmp_path / f"{kind}-{projection}", kind, projection_dim=projection)
        name = "DPRQuestionEncoder" if kind == "dpr-query" else "DPRContextEncoder"
        model = getattr(transformers, name).from_pretrained(folder)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        with torch.inference_mode():
            expected = model(**tokenizer(TEXTS[:2], return_tensors="pt", padding=True)).pooler_output
        np.testing.assert_allclose(ours(folder, TEXTS[:2]), expected, atol=1e-5)


def test_t5_by_its_encoder(tmp_path):
    from transformers import T5Config, T5Model

    folder = make_model(tmp_path / "t5", "t5")
    config = T5Config.from_pretrained(folder)
    config.num_decoder_layers = 1
    torch.manual_seed(1)
    whole = T5Model(config).eval()
    whole.save_pretrained(folder)
    ids = find_encoder(str(folder)).load().tokenize(["bado kefa"], find_encoder(str(folder)).card.query)
    with torch.inference_mode():
        expected = whole.encoder(torch.tensor(ids)).last_hidden_state[:, 0]
    np.testing.assert_allclose(ours(folder, ["bado kefa"]), expected, atol=1e-5)


def broken(name, value, key=None):
    def change(folder):
        path = folder / name
        content = json.loads(path.read_text()) if key else None
        if callable(value):
            value(content)
        path.write_text(json.dumps(content if callable(value) else {**content, key: value} if key else value))

    return change


def module_of(number, kind):
    return broken("modules.json", lambda modules: modules[number].update(type=kind), key="-")


REFUSED = {
    "custom": (module_of(0, "custom_st.Transformer"), "custom_st.Transformer is not supported"),
    "sparse": (module_of(1, "sentence_transformers.sparse_encoder.models.SpladePooling"), "SpladePooling"),
    "router": (module_of(0, "sentence_transformers.models.Router"), "models.Router is not supported"),
    "multi-vector": (module_of(1, "pylate.models.Dense.Dense"), "pylate.models.Dense.Dense is not supported"),
    "no list": (broken("modules.json", {"0": "x"}), "no list of modules"),
    "elsewhere": (
        broken("modules.json", lambda m: m[1].update(path="../1_Pooling"), key="-"),
        "not in a folder beside",
    ),
    "no pooling": (broken("modules.json", lambda modules: modules.__delitem__(slice(1, 9)), key="-"), "no pooling"),
    "no mode": (broken("1_Pooling/config.json", "attention", "pooling_mode"), "the pooling"),
    "MaxSim": (broken("config_sentence_transformers.json", "MaxSim", "similarity_fn_name"), "compared by MaxSim"),
    "kind": (broken("config_sentence_transformers.json", "SparseEncoder", "model_type"), "is a SparseEncoder"),
    "prompts": (broken("config_sentence_transformers.json", {"query": 3}, "prompts"), "prompts are not texts"),
    "default": (broken("config_sentence_transformers.json", "no", "default_prompt_name"), "no prompt 'no'"),
    "cut": (broken("config_sentence_transformers.json", "x", "truncate_dim"), "truncate_dim is 'x'"),
    "task": (broken("sentence_bert_config.json", "fill-mask", "transformer_task"), "for fill-mask"),
    "image": (broken("sentence_bert_config.json", {"image": {}}, "modality_config"), "only plain texts"),
    "changes": (broken("sentence_bert_config.json", {"is_causal": False}, "config_args"), "config_args would change"),
    "length": (broken("sentence_bert_config.json", "x", "max_seq_length"), "no number of tokens"),
    "activation": (broken("2_Dense/config.json", "os.system", "activation_function"), "'os.system', which is not"),
    "tokens": (broken("2_Dense/config.json", "token_embeddings", "module_input_name"), "maps tokens"),
    "sizes": (broken("2_Dense/config.json", 31, "in_features"), "do not fit its config.json"),
    "large": (broken("2_Dense/config.json", 1 << 16, "out_features"), "do not fit its config.json"),
    "larger": (broken("2_Dense/config.json", 1 << 40, "out_features"), "expected a number of dimensions"),
    "heads": (broken("config.json", 1 << 30, "num_attention_heads"), "claims more than .*the heads"),
    "width": (lambda folder: (folder / "2_Dense" / "config.json").unlink(), "has no config.json"),
    "weights": (lambda folder: (folder / "2_Dense" / "model.safetensors").unlink(), "has neither model.safetensors"),
    "damaged": (lambda folder: (folder / "2_Dense" / "model.safetensors").write_bytes(b"x"), "no safetensors file"),
}


@pytest.fixture(scope="module")
def dense_folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("dense") / "st", after=("Dense:Tanh:bias:16", "Normalize"))


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_supported_is_one_line(dense_folder, tmp_path, case):
    import shutil

    change, part = REFUSED[case]
    folder = shutil.copytree(dense_folder, tmp_path / "st")
    change(folder)
    with pytest.raises(EncoderError, match=part) as problem:
        find_encoder(str(folder)).load()
    assert "\n" not in str(problem.value)


def test_models_of_other_things_are_refused(tmp_path):
    from transformers import ViTConfig, ViTModel

    folder = make_model(tmp_path / "vit", "bert")
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    ViTModel(ViTConfig(**sizes, image_size=8, patch_size=4)).save_pretrained(folder)
    with pytest.raises(EncoderError, match="cannot be used as an encoder of texts") as problem:
        find_encoder(str(folder)).load()
    assert "\n" not in str(problem.value)


def test_encoders_with_decoders_are_refused(tmp_path):
    folder = make_model(tmp_path / "bart", "bart")
    with pytest.raises(EncoderError, match="kind bart, whose encoder cannot be used alone"):
        find_encoder(str(folder)).load()
