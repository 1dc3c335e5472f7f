"""Tiny random transformers of many kinds, as transformers writes them, all with one word-level tokenizer."""

from pathlib import Path

from tests.conftest import make_encoder

_SIZES = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
_DECODER = {**_SIZES, "num_key_value_heads": 1, "head_dim": 16, "eos_token_id": 3, "bos_token_id": 2}
_KINDS = {
    "bert": ("BertModel", "BertConfig", {**_SIZES, "max_position_embeddings": 64}),
    "roberta": ("RobertaModel", "RobertaConfig", {**_SIZES, "max_position_embeddings": 66}),
    "xlm-roberta": ("XLMRobertaModel", "XLMRobertaConfig", {**_SIZES, "max_position_embeddings": 66}),
    "mpnet": ("MPNetModel", "MPNetConfig", {**_SIZES, "max_position_embeddings": 66}),
    "albert": ("AlbertModel", "AlbertConfig", {**_SIZES, "embedding_size": 16, "max_position_embeddings": 64}),
    "electra": ("ElectraModel", "ElectraConfig", {**_SIZES, "embedding_size": 16, "max_position_embeddings": 64}),
    "distilbert": (
        "DistilBertModel",
        "DistilBertConfig",
        {"dim": 32, "n_layers": 1, "n_heads": 2, "hidden_dim": 64, "max_position_embeddings": 64},
    ),
    "modernbert": (
        "ModernBertModel",
        "ModernBertConfig",
        {**_SIZES, "num_hidden_layers": 2, "max_position_embeddings": 64, "cls_token_id": 2, "sep_token_id": 3},
    ),
    "t5": (
        "T5EncoderModel",
        "T5Config",
        {"d_model": 32, "d_kv": 16, "num_heads": 2, "d_ff": 64, "num_layers": 1, "num_decoder_layers": 1},
    ),
    "qwen3": ("Qwen3Model", "Qwen3Config", {**_DECODER, "max_position_embeddings": 64}),
    "gemma3": (
        "Gemma3TextModel",
        "Gemma3TextConfig",
        {**_DECODER, "max_position_embeddings": 64, "use_bidirectional_attention": True, "query_pre_attn_scalar": 16},
    ),
    "gpt2": ("GPT2Model", "GPT2Config", {"n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 64}),
    "nomic": ("NomicBertModel", "NomicBertConfig", {**_SIZES, "max_position_embeddings": 64}),
    "gte": ("GteModel", "GteConfig", {**_SIZES, "max_position_embeddings": 64}),
    "dpr-query": ("DPRQuestionEncoder", "DPRConfig", {**_SIZES, "max_position_embeddings": 64}),
    "dpr-context": ("DPRContextEncoder", "DPRConfig", {**_SIZES, "max_position_embeddings": 64}),
    "bart": (
        "BartModel",
        "BartConfig",
        {
            "d_model": 32,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_attention_heads": 2,
            "max_position_embeddings": 64,
        },
    ),
}
KINDS = tuple(kind for kind in _KINDS if not kind.startswith(("dpr", "bart")))


def make_model(folder: Path, kind: str, seed: int = 0, padding_side: str = "right", **changes) -> Path:
    """Write a model of a kind, with weights that are far enough from zero for vectors to differ."""
    import torch
    import transformers
    from transformers import AutoTokenizer

    make_encoder(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.model_max_length, tokenizer.padding_side = 64, padding_side
    for path in folder.iterdir():
        path.unlink()
    tokenizer.save_pretrained(folder)
    model_class, config_class, sizes = _KINDS[kind]
    torch.manual_seed(seed)
    config = getattr(transformers, config_class)(vocab_size=len(tokenizer), pad_token_id=0, **{**sizes, **changes})
    model = getattr(transformers, model_class)(config)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.1 * torch.randn_like(value))
    model.save_pretrained(folder)
    return folder
