"""The model card of an index on the Hugging Face hub."""

from typing import Any

from pyserini_jpq.index.manifest import Manifest, text_files

_PAGE = """\
---
library_name: pyserini_jpq
tags: [information-retrieval, dense-retrieval, product-quantization, jpq, pyserini]
pipeline_tag: sentence-similarity
---

# {name}

A [JPQ](https://arxiv.org/abs/2108.00644) index for dense retrieval, with its query encoder: {documents:,} documents of
{bytes} bytes, {size} in all.

```python
import pyserini_jpq as jpq

index = jpq.Index.from_hub("{repo}")
for hit in index.search("a question", k=10):
    print(hit.docid, hit.score, hit.text)
```

| | |
|---|---|
{rows}

{about}"""


def model_card(repo: str, manifest: Manifest, about: str = "") -> str:
    """Return the page that states bytes, encoder, data, figures and use of an index.

    Parameters
    ----------
    repo
        `OWNER/NAME`.
    manifest
        The manifest as it is sent.
    about
        Markdown in the words of who publishes it: data and figures that the manifest does not know.
    """
    size = sum(file["bytes"] for file in manifest.files.values())
    rows = "\n".join(f"| {name} | {value} |" for name, value in _rows(manifest))
    return _PAGE.format(
        name=repo.rpartition("/")[2],
        repo=repo,
        documents=manifest.documents,
        bytes=f"{manifest.bytes_per_document:g}",
        size=_human(size),
        rows=rows,
        about=f"{about.strip()}\n" if about.strip() else "",
    )


def _rows(manifest: Manifest) -> list[tuple[str, str]]:
    query, document = manifest.query_encoder, manifest.document_encoder
    where = "in `encoder/`" if query.get("folder") else "not in this repository: it is a public one"
    flat = 4 * manifest.dimension
    return [
        ("bytes a document", f"{manifest.bytes_per_document:g}, where the uncompressed vector takes {flat:,}"),
        ("quantizer", f"M={manifest.m}, {manifest.bits} bits, D={manifest.dimension}, inner product"),
        ("query encoder", f"{_encoder(query)}, {where}"),
        ("document encoder", _encoder(document)),
        ("texts", "kept" if text_files(manifest.files) else "not kept"),
        *_training(manifest.training),
    ]


def _encoder(entry: dict[str, Any]) -> str:
    card = entry["card"] or {}
    use = f"{card.get('pooling')} pooling{', unit length' if card.get('normalize') else ''}" if card else "unknown"
    return f"{entry['name'] or 'not named'} ({use})"


def _training(training: dict[str, Any] | None) -> list[tuple[str, str]]:
    if training is None:
        return [("training", "none: quantized with OPQ")]
    recipe = training.get("recipe") or {}
    known = {name: training.get(name) for name in ("queries", "judgements", "steps")}
    data = ", ".join(f"{value:,} {name}" for name, value in known.items() if isinstance(value, int))
    rows = [("training", f"JPQ, loss {recipe.get('loss', 'not noted')}; {data or 'data not noted'}")]
    best = max((step["dev"] for step in _history(training)), default=None)
    shares = [value for value in (training.get("by_trained_share") or {}).values() if isinstance(value, float)]
    if best is not None:
        rows.append((f"{training.get('dev_metric', 'dev')} on the dev queries", f"{max([best, *shares]):.4f}"))
    return rows


def _history(training: dict[str, Any]) -> list[dict[str, float]]:
    history = training.get("history")
    steps = history if isinstance(history, list) else []
    return [step for step in steps if isinstance(step, dict) and isinstance(step.get("dev"), float)]


def _human(size: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"
