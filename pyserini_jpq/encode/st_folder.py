"""What a sentence-transformers model says of itself, as the fields of a card; nothing that it names is run."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from pyserini_jpq import cli
from pyserini_jpq.cards import TextSide
from pyserini_jpq.encode.beside import Files
from pyserini_jpq.errors import EncoderError
from pyserini_jpq.trust.places import is_plain_name

MODULES, SETTINGS, TRANSFORMER = "modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"

_OLD_TRANSFORMER = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
_AFTER = ("Dense", "LayerNorm", "Normalize", "Dropout")
POOLINGS_OF = {
    "cls": "cls",
    "max": "max_tokens",
    "mean": "mean",
    "mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "weightedmean": "weightedmean_tokens",
    "lasttoken": "last",
}
"""Modes of sentence-transformers, in the order in which it joins them, and ours."""

_OLD_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_SIDES = {"query": ("query",), "document": ("document", "passage", "corpus")}
_MOST_TOKENS = 1 << 20


def described(location: str, local: bool = False) -> dict[str, Any]:
    """Return the fields of a card that a sentence-transformers model gives.

    Parameters
    ----------
    location
        A folder, or a name of the Hugging Face hub.
    local
        Fetch nothing.

    Returns
    -------
    dict
        Empty where there is no `modules.json`.

    Raises
    ------
    EncoderError
        If it has a module, a pooling or a setting that is not supported, or a file that cannot be read.
    """
    files = Files(location, local)
    modules = files.json(MODULES)
    if modules is None:
        if not files.is_reached:
            cli.warn(f"{location} cannot be looked up: without flags, its first token is taken (--pooling, --l2-norm)")
        return {}
    chain = _chain(modules, files)
    settings = _object(files, SETTINGS)
    _refuse_other_kinds(settings, files)
    after, fields = chain[2:], _pooling(chain[1][1], files)
    if after and after[-1][0] == "Normalize":
        fields["normalize"] = True
        after = after[:-1]
    fields["head"] = " ".join(path for kind, path in after if kind != "Dropout")
    fields["subfolder"] = chain[0][1]
    if (cut := settings.get("truncate_dim")) is not None:
        if type(cut) is not int or cut < 1:
            raise EncoderError(f"{files.named(SETTINGS)}: truncate_dim is {cut!r}, no number of dimensions")
        fields["truncate_dim"] = cut
    if settings.get("similarity_fn_name") in ("cosine", "euclidean", "manhattan") and "normalize" not in fields:
        cli.warn(
            f"{location} is compared by {settings['similarity_fn_name']}, but its vectors are not of unit length: an "
            "index ranks by inner product; --l2-norm makes that the cosine"
        )
    return {**fields, **_transformer(files, chain[0][1], _prompts(settings, files))}


def _chain(modules: Any, files: Files) -> list[tuple[str, str]]:
    """Return kind and path of each module: a transformer, pooling, and what we know of the rest."""
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise EncoderError(f"{files.named(MODULES)} is no list of modules; copy the encoder again")
    chain = []
    for place, module in enumerate(modules):
        kind, path = str(module.get("type")), module.get("path")
        allowed = (("Transformer",), ("Pooling",))[place : place + 1] or (_AFTER,)
        name = kind.rpartition(".")[2]
        if not kind.startswith("sentence_transformers.") or name not in allowed[0]:
            raise EncoderError(f"{files.named(MODULES)}: the module {kind} is not supported here, and is not run")
        if not isinstance(path, str) or (path and not _is_plain(path)) or (place and not path):
            raise EncoderError(f"{files.named(MODULES)}: the module {kind} lies at {path!r}, not in a folder beside")
        if place > 1 and path and not path.endswith(f"_{name}"):
            raise EncoderError(f"{files.named(MODULES)}: the folder {path!r} of the module {kind} must end in _{name}")
        chain.append((name, path))
    if len(chain) < 2:
        raise EncoderError(f"{files.named(MODULES)} has no pooling, so it gives several vectors a text")
    return chain


def _is_plain(path: str) -> bool:
    return is_plain_name(path) and " " not in path and len(PurePosixPath(path).parts) == 1


def _object(files: Files, name: str) -> Mapping[str, Any]:
    value = files.json(name)
    if not isinstance(value, dict | None):
        raise EncoderError(f"{files.named(name)} is no JSON object; copy the encoder again")
    return value or {}


def _refuse_other_kinds(settings: Mapping[str, Any], files: Files) -> None:
    kind, similarity = settings.get("model_type", "SentenceTransformer"), settings.get("similarity_fn_name")
    if kind != "SentenceTransformer" or str(similarity).lower() == "maxsim":
        what = f"a {kind}" if kind != "SentenceTransformer" else "compared by MaxSim"
        raise EncoderError(f"{files.named(SETTINGS)}: the model is {what}; an index takes one dense vector a text")


def _pooling(path: str, files: Files) -> dict[str, Any]:
    name = f"{path}/config.json"
    settings = _object(files, name)
    modes = settings.get("pooling_mode")
    if modes is None:
        modes = [mode for key, mode in _OLD_POOLINGS.items() if settings.get(key)] or ["mean"]
    modes = [modes] if isinstance(modes, str) else modes
    if not settings or not isinstance(modes, Sequence) or not all(mode in POOLINGS_OF for mode in modes):
        raise EncoderError(f"{files.named(name)} has the pooling {modes!r}; known are {', '.join(POOLINGS_OF)}")
    fields: dict[str, Any] = {"pooling": "+".join(POOLINGS_OF[mode] for mode in modes)}
    return {**fields, "include_prompt": False} if settings.get("include_prompt") is False else fields


def _prompts(settings: Mapping[str, Any], files: Files) -> dict[str, str]:
    """Return the prompt of each side: its own, else the default one, unless that is the other side's."""
    prompts, default = settings.get("prompts") or {}, settings.get("default_prompt_name")
    if not isinstance(prompts, dict) or not all(isinstance(text, str | None) for text in prompts.values()):
        raise EncoderError(f"{files.named(SETTINGS)}: prompts are not texts by name; copy the encoder again")
    if default is not None and default not in prompts:
        raise EncoderError(f"{files.named(SETTINGS)}: there is no prompt {default!r}, which is to be the default")
    found = {side: next((prompts[n] for n in names if prompts.get(n)), "") for side, names in _SIDES.items()}
    of_one_side = any(default in names for names in _SIDES.values())
    return {
        side: text or ("" if default is None or of_one_side else prompts[default] or "") for side, text in found.items()
    }


def _transformer(files: Files, path: str, prompts: Mapping[str, str]) -> dict[str, Any]:
    """Return the sides of a card, and whether texts are lower-cased."""
    inside = f"{path}/" if path else ""
    settings = next((found for name in _OLD_TRANSFORMER if (found := _object(files, inside + name))), {})
    where = files.named(inside + TRANSFORMER)
    task, modality = settings.get("transformer_task", "feature-extraction"), settings.get("modality_config") or {}
    if task != "feature-extraction":
        raise EncoderError(f"{where}: the model is for {task}; an index takes one dense vector a text")
    if not isinstance(modality, dict) or "message" in modality or ("text" not in modality and modality):
        raise EncoderError(f"{where}: the model takes {', '.join(modality)}; only plain texts are supported")
    if settings.get("processing_kwargs") or settings.get("query_expansion"):
        raise EncoderError(f"{where}: processing_kwargs and query_expansion are not supported")
    longest = settings.get("max_seq_length") or _longest(files, inside)
    lengths = {side: settings.get(f"{side}_length") or longest for side in _SIDES}
    if not all(type(length) is int and length > 0 for length in lengths.values()):
        raise EncoderError(f"{where}: {longest!r} is no number of tokens")
    sides = {side: TextSide(prompts[side], min(lengths[side], _MOST_TOKENS)) for side in _SIDES}
    return {**sides, "lower_case": True} if settings.get("do_lower_case") else dict(sides)


def _longest(files: Files, inside: str) -> int:
    """Return the most tokens that tokenizer and transformer take, where nothing else is said."""
    tokenizer, config = (_object(files, f"{inside}{name}.json") for name in ("tokenizer_config", "config"))
    lengths = [tokenizer.get("model_max_length"), config.get("max_position_embeddings")]
    return int(min([_MOST_TOKENS, *(length for length in lengths if isinstance(length, int | float) and length > 0)]))
