"""The first contact with a server, before anything is asked of it."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from jaxecon.core.errors import EngineError
from llm.engines.openai.failure import RequestFailure
from llm.engines.openai.server import Server
from llm.engines.openai.transport import Transport

_CHECK_SECONDS = 4.0  # for each of two tries
_PAUSE_SECONDS = 0.5  # between them
_NO_LIST = frozenset({404, 405, 406, 410, 411, 417})  # of servers that do not list their models


async def probe(server: Server, transport: Transport) -> None:
    """Find out whether the server is there and accepts the key, and which models it lists.

    Not every server lists models. Raises EngineError where nothing answers or the key is refused.
    """
    for last in (False, True):
        try:
            listing = await transport.list_models(_CHECK_SECONDS)
        except RequestFailure as failure:
            if failure.status not in _NO_LIST:
                server.raise_if_fatal(failure)
            if failure.status:
                return
            if last:
                server.raise_if_proxy_gone(failure)
                raise EngineError(
                    f"llm.base_url: nothing answers at {server.url} ({failure}); start the "
                    "server or correct the address"
                ) from None
            await asyncio.sleep(_PAUSE_SECONDS)
        else:
            _note_models(listing, server, transport)
            return


def _note_models(listing: object, server: Server, transport: Transport) -> None:
    listed = listing.get("data") if isinstance(listing, Mapping) else None
    models = (
        [model for model in listed if isinstance(model, Mapping)]
        if isinstance(listed, list)
        else []
    )
    server.models = [transport.redaction.line(model["id"]) for model in models if "id" in model]
    if any(model.get("owned_by") == "vllm" for model in models):
        # On a CPU a per-request seed crashes vLLM as soon as a batch needs chunked prefill.
        server.format = replace(server.format, seed=False)
