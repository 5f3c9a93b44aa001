"""HTTP requests to the server; all their failures are RequestFailure."""

import asyncio
import json
from collections.abc import Awaitable, Mapping
from typing import Any

from llm.engines.openai.address import Extras
from llm.engines.openai.failure import GATEWAY_STATUSES, RequestFailure, system_error
from llm.engines.openai.network import http_client
from llm.engines.openai.rate_limit import retry_after_seconds
from llm.engines.openai.redaction import Redaction
from llm.engines.openai.server import Server


class Transport:
    """The connections to one server.

    key: "" where it needs none; timeout: seconds per answer; extras: added to every request.
    """

    def __init__(
        self, server: Server, key: str, max_connections: int, timeout: float, extras: Extras
    ) -> None:
        import openai  # an extra, and slow to import

        self.redaction = Redaction(key, tuple(extras.secrets))
        sent = extras.filled()
        # without a key of its own, the client would send one that says "none" beside the user's
        headers: dict[str, Any] = dict(sent.headers)
        if extras.authenticates and not key:
            headers = {"Authorization": openai.Omit(), **headers}
        self._server, self._timeout = server, timeout
        self._client = openai.AsyncOpenAI(
            base_url=server.url,
            api_key=key or "none",
            max_retries=0,
            default_headers=headers,
            default_query=dict(sent.query),
            timeout=openai.Timeout(timeout, connect=min(timeout, 10.0)),
            http_client=http_client(server.url, max_connections),
        )
        self.version = openai.__version__

    async def list_models(self, timeout: float) -> Any:
        """The JSON of the server's list of models. Raises RequestFailure."""
        return await self._call(self._client.models.with_raw_response.list(), timeout)

    async def chat(self, body: dict[str, Any]) -> Any:
        """The JSON of one chat completion. Raises RequestFailure."""
        create = self._client.chat.completions.with_raw_response.create
        # the client knows neither all fields nor that an answer may be read whole though streamed
        sent = create(model=body["model"], messages=body["messages"], extra_body=body)
        return await self._call(sent, self._timeout)

    async def close(self) -> None:
        """Drop the connections."""
        await self._client.close()

    async def _call(self, sent: Awaitable[Any], timeout: float) -> Any:
        """The JSON of the reply.

        Raises RequestFailure for any failure of the server or of the way to it.
        """
        import openai

        try:
            async with asyncio.timeout(timeout):
                raw = await sent
        except openai.APIStatusError as error:
            if error.status_code not in GATEWAY_STATUSES:
                self._server.lost_since = None
            raise self._refusal(error.status_code, error.body, error.response.headers) from None
        except (openai.APITimeoutError, openai.APIConnectionError, TimeoutError) as error:
            cause = error.__cause__ or error
            # Compared by name, since openai 2 uses httpx and openai 3 httpx2.
            unreachable = type(cause).__name__ in ("ConnectError", "ConnectTimeout")
            if isinstance(error, TimeoutError | openai.APITimeoutError):
                words = (
                    "connecting takes too long"
                    if unreachable
                    else f"no answer within {timeout:g} s"
                )
            else:
                words = self.redaction.line(system_error(cause) or cause)
            raise RequestFailure(words, unreachable=unreachable) from None
        except ValueError as error:
            words = f"the request cannot be sent: {self.redaction.line(error)}"
            raise RequestFailure(words, status=400) from None
        try:
            return json.loads(raw.http_response.content)
        except (ValueError, RecursionError):
            raise RequestFailure("the server's reply is not JSON", status=502) from None

    def _refusal(self, status: int, body: object, headers: Mapping[str, str]) -> RequestFailure:
        inner = body.get("error", body) if isinstance(body, Mapping) else body
        fields: Mapping[str, Any] = inner if isinstance(inner, Mapping) else {}
        words = fields.get("message") or fields.get("detail") or inner or "no reason given"
        waits = status in (429, 503)
        return RequestFailure(
            f"HTTP {status}: {self.redaction.line(words)}",
            status=status,
            gateway=status in GATEWAY_STATUSES,
            complaint=str(body).lower(),
            parameter=str(fields.get("param") or fields.get("code")),
            retry_after=retry_after_seconds(headers) if waits else None,
            generated=self.redaction.reply(str(fields.get("failed_generation") or "")),
        )
