"""The server that ours is measured beside: Pyserini 2's own, or one in its way where Pyserini has none for folders."""

import asyncio
import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

_PYSERINI_2 = """
import io, runpy, sys
import pyserini_jpq  # its hook finds Java, and our encoder in its folder
import pyserini.prebuilt_index_info as catalogue  # Pyserini looks each name up in it; it is on the network
catalogue.urlopen = lambda *_, **__: io.BytesIO(b"[]")
sys.argv[0] = "rest"
runpy.run_module("pyserini.server.rest", run_name="__main__")
"""


def stock_command(folder: Path, encoder: Path, place: Path, name: str) -> list[str]:
    """Return the command of a server of the index on `{port}`; for Pyserini 2 an index of the texts is made first."""
    if importlib.metadata.version("pyserini").startswith("1."):
        return [sys.executable, "-m", "benchmarks.stock_server", str(folder), str(encoder), "{port}"]
    command = [sys.executable, "-m", "pyserini.index.lucene", "--collection", "JsonCollection", "--storeRaw"]
    command += ["--input", str(place / "corpus"), "--index", str(place / "lucene"), "--threads", "2"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    indexes = {
        name: {"path": str(folder), "index_type": "faiss", "encoder": str(encoder), "base_index": "texts"},
        "texts": str(place / "lucene"),
    }
    (place / "server.yaml").write_text(yaml.safe_dump({"indexes": indexes}))
    flags = ["--config", str(place / "server.yaml"), "--no-prebuilt-indexes", "--search-cache-size", "0"]
    flags += ["--log-file", os.devnull]
    return [sys.executable, "-c", _PYSERINI_2, *flags, "--host", "127.0.0.1", "--port", "{port}"]


def stock_app(folder: str, encoder: str) -> Any:
    """Return an application in the way of Pyserini 2's: a thread for each request, which searches and reads texts."""
    from fastapi import FastAPI

    from pyserini_jpq import JPQQueryEncoder
    from pyserini_jpq.compat import pyserini
    from pyserini_jpq.index.opening import open_folder
    from pyserini_jpq.index.texts import texts_of

    searcher = pyserini.faiss_searcher_base()(folder, JPQQueryEncoder(encoder))
    texts = texts_of(open_folder(folder)) or {}
    app = FastAPI()

    def text_of(hit: Any) -> str | None:
        document: Any = texts.get(hit.docid)
        return None if document is None else str(document.text)

    def answer(index: str, query: str, hits: int) -> dict[str, Any]:
        candidates = [
            {"docid": hit.docid, "score": round(float(hit.score), 6), "rank": rank, "doc": text_of(hit)}
            for rank, hit in enumerate(searcher.search(query, hits), 1)
        ]
        return {"api": "v1", "index": index, "query": {"text": query}, "candidates": candidates}

    @app.get("/v1/{index}/search")
    async def search(index: str, query: str, hits: int = 10) -> dict[str, Any]:
        return await asyncio.to_thread(answer, index, query, hits)

    return app


def main() -> None:
    """Serve a folder by its encoder at a port."""
    import uvicorn

    folder, encoder, port = sys.argv[1:]
    uvicorn.run(stock_app(folder, encoder), host="127.0.0.1", port=int(port), access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
