"""An OpenAI-compatible server that streams at a fixed rate: what an answer costs when no model takes any time.

`python -m bench.paced_model PORT KEY TOKENS_PER_SECOND`. Real models' pauses vary from word to word; only against even
ones can a gateway's part of a word's time be seen.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from base.ports import LOOPBACK


def paced(key: str, rate: float) -> Starlette:
    """The server.

    Args:
        key: that every request must bring.
        rate: tokens in a second, of each stream.
    """

    async def stream(tokens: int) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        for number in range(tokens):
            # Kept to the beginning, so that no delay adds up.
            await asyncio.sleep(max(0.0, begin + (number + 1) / rate - loop.time()))
            choice = {"index": 0, "delta": {"content": f"word{number} "}, "finish_reason": None}
            yield b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"
        usage = {"prompt_tokens": 10, "completion_tokens": tokens, "total_tokens": 10 + tokens}
        yield b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\ndata: [DONE]\n\n"

    async def chat(request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {key}":
            return JSONResponse({"error": {"message": "no key"}}, status_code=401)
        asked = await request.json()
        return StreamingResponse(stream(int(asked["max_tokens"])), media_type="text/event-stream")

    return Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])])


if __name__ == "__main__":
    uvicorn.run(
        paced(sys.argv[2], float(sys.argv[3])), host=LOOPBACK, port=int(sys.argv[1]), log_config=None, access_log=False
    )
