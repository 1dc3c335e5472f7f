"""Training queries written by a sequence-to-sequence model, such as docT5query, as in GPL (Wang et al., NAACL 2022)."""

from collections.abc import Sequence

from pyserini_jpq.bars import Progress
from pyserini_jpq.data.collection import Document
from pyserini_jpq.encode.precision import resolve_device
from pyserini_jpq.encode.strict import load_with_tokenizer
from pyserini_jpq.train.options import TrainOptions

_BATCH = 16
_DOCUMENT, _QUERY = 350, 64
"""Most tokens of a document and of a query."""
_BEST, _MASS = 25, 0.95
"""Each token is drawn from the 25 likeliest that have 95 % of the probability, as GPL does."""


def generated_queries(documents: Sequence[Document], options: TrainOptions) -> tuple[dict[str, str], dict[str, str]]:
    """Return queries by query id, and the docid of the document that each was made of.

    Every document gets as many queries as the options name kinds of them.

    Parameters
    ----------
    documents
        The documents.
    options
        The generator, a name or folder, the seed and the device.

    Raises
    ------
    EncoderError
        If the model cannot be loaded.
    """
    import torch
    from transformers import AutoModelForSeq2SeqLM

    what = "sequence-to-sequence model"
    model, tokenizer = load_with_tokenizer(AutoModelForSeq2SeqLM, str(options.generator), "--generator", what)
    place = resolve_device(options.device)
    model.to(place).eval()
    topics: dict[str, str] = {}
    sources: dict[str, str] = {}
    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []), torch.inference_mode():
        torch.manual_seed(options.seed)
        steps = range(0, len(documents), _BATCH)
        for start in Progress(steps, desc="writing queries", unit=" batches", delay=2, leave=False):
            batch = documents[start : start + _BATCH]
            texts = [f"{document.title} {document.text}".strip() for document in batch]
            tokens = tokenizer(texts, padding=True, truncation=True, max_length=_DOCUMENT, return_tensors="pt")
            drawn = model.generate(
                input_ids=tokens["input_ids"].to(place),
                attention_mask=tokens["attention_mask"].to(place),
                max_length=_QUERY,
                do_sample=True,
                top_k=_BEST,
                top_p=_MASS,
                num_return_sequences=len(options.kinds),
            )
            written = tokenizer.batch_decode(drawn, skip_special_tokens=True)
            for place_in_batch, text in enumerate(written):
                number, count = divmod(place_in_batch, len(options.kinds))
                if query := " ".join(text.split()):
                    qid = f"generated{count}.{batch[number].docid}"
                    topics[qid], sources[qid] = query, batch[number].docid
    return topics, sources
