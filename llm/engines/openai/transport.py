"""HTTP requests to the server; all their failures are RequestFailure."""

import asyncio
import importlib
import json
import re
from collections.abc import Mapping
from typing import Any

from llm.engines.openai.address import Extras
from llm.engines.openai.complaint import complaint_of, without_repeated
from llm.engines.openai.failure import GATEWAY_STATUSES, RequestFailure, system_error
from llm.engines.openai.network import http_client
from llm.engines.openai.rate_limit import retry_after_seconds
from llm.engines.openai.redaction import Redaction, plain_text
from llm.engines.openai.reply_body import bounded, decoded, json_of, page_title
from llm.engines.openai.request_format import is_about_request
from llm.engines.openai.server import Server

_NO_REASON = "no reason given"
_ABOUT_REQUESTS = (400, 415, 422)  # statuses that blame the request, also without words
_EARLY_SECONDS = 0.005  # before the end of a request is sent: what was sent unasked arrives in them
# A connection carries one request (see `network`). Compressed answers are not asked for: they are
# short.
_HEADERS = {"Connection": "close", "Accept-Encoding": "identity"}


class Transport:
    """The way to one server.

    key: "" where it needs none; timeout: seconds per answer; extras: added to every request.
    """

    def __init__(
        self, server: Server, key: str, max_connections: int, timeout: float, extras: Extras
    ) -> None:
        import openai  # an extra, and slow to import

        self.redaction = Redaction(key, tuple(extras.secrets))
        sent = extras.filled()
        self._server, self._timeout = server, timeout
        self._query = dict(sent.query)
        self._http = http_client(server.url, max_connections, timeout)
        client = openai.AsyncOpenAI(api_key=key or "none", http_client=self._http)
        # OpenAI's own, such as the organisation that the environment names. Without a key, the
        # client would send one that says "none" beside the user's.
        own: dict[str, Any] = {**client.default_headers, **client.auth_headers}
        if not key and extras.authenticates_at(server.url):
            own.pop("Authorization", None)
        self._headers = {name.lower(): text for name, text in own.items() if isinstance(text, str)}
        self._headers |= {name.lower(): text for name, text in {**_HEADERS, **sent.headers}.items()}
        # openai 2 uses httpx, openai 3 httpx2
        package = openai.DefaultAsyncHttpxClient.__mro__[1].__module__.partition(".")[0]
        self._errors: Any = importlib.import_module(package)
        self.version = openai.__version__

    async def list_models(self, timeout: float) -> Any:
        """The JSON of the server's list of models. Raises RequestFailure."""
        return await self._call("GET", "/models", None, timeout)

    async def chat(self, body: dict[str, Any]) -> Any:
        """The JSON of one chat completion. Raises RequestFailure."""
        return await self._call("POST", "/chat/completions", body, self._timeout)

    async def close(self) -> None:
        """Drop the connections."""
        await self._http.aclose()

    async def _call(self, method: str, path: str, body: Any, timeout: float) -> Any:
        """The JSON of the reply.

        Raises RequestFailure for any failure of the server or of the way to it.
        """
        http = self._errors
        try:
            async with asyncio.timeout(timeout):
                status, headers, text = await self._reply(method, path, body)
        except (http.HTTPError, TimeoutError) as error:
            unreachable = isinstance(error, http.ConnectError | http.ConnectTimeout)
            if isinstance(error, TimeoutError | http.TimeoutException):
                words = (
                    "connecting takes too long"
                    if unreachable
                    else f"no answer within {timeout:g} s"
                )
            else:
                words = self.redaction.line(system_error(error) or error)
            raise RequestFailure(words, unreachable=unreachable) from None
        except ValueError as error:
            words = f"the request cannot be sent: {self.redaction.line(error)}"
            raise RequestFailure(words, status=400) from None
        content_type = headers.get("content-type", "")
        if not 200 <= status < 300:
            if status not in GATEWAY_STATUSES:
                self._server.lost_since = None
            raise self._refusal(status, _error_in(text, content_type), headers, body or {})
        reply = json_of(text, content_type, self.redaction)
        refusal = self._refusal_in(reply, headers, body or {})
        if refusal is not None:
            raise refusal
        return reply

    def _refusal_in(
        self, reply: object, headers: Mapping[str, str], request: Mapping[str, Any]
    ) -> RequestFailure | None:
        """The refusal that a server sends as if it were an answer; None for what is none."""
        if not isinstance(reply, Mapping) or reply.get("choices"):
            return None
        if not (reply.get("error") or reply.get("object") == "error"):
            return None
        code = str(_fields(_error_of(reply)).get("code"))
        status = int(code) if re.fullmatch("[45][0-9]{2}", code) else 400
        refusal = self._refusal(status, reply, headers, request)
        # without a code it may be about anything
        return refusal if status != 400 or code == "400" or is_about_request(refusal) else None

    async def _reply(self, method: str, path: str, body: Any) -> tuple[int, Mapping[str, str], str]:
        """The status, the headers and the text of a reply. Raises RequestFailure."""
        watch = _Watch(has_body=body is not None)
        async with self._http.stream(
            method,
            self._server.url + path,
            json=body,
            params=self._query or None,
            headers=self._headers,
            extensions={"trace": watch},
        ) as response:
            if watch.early and response.is_success:  # a refusal may come early
                raise RequestFailure("the server answered before it was asked", status=502)
            data = await bounded(response.aiter_raw(), response.headers.get("content-encoding", ""))
            text = decoded(data, response.headers.get("content-type", ""))
            return response.status_code, response.headers, text

    def _refusal(
        self, status: int, body: object, headers: Mapping[str, str], request: Mapping[str, Any]
    ) -> RequestFailure:
        generated = _fields(_error_of(body)).get("failed_generation") or ""
        body = without_repeated(body, request)
        inner = _error_of(body)
        fields = _fields(inner)
        words = fields.get("message") or fields.get("detail") or inner or _NO_REASON
        waits = status in (429, 503)
        return RequestFailure(
            f"HTTP {status}: {self.redaction.line(words)}",
            status=status,
            gateway=status in GATEWAY_STATUSES,
            complaint=complaint_of(body, request) or _NO_REASON * (status in _ABOUT_REQUESTS),
            parameter=plain_text(fields.get("param") or fields.get("code")),
            retry_after=retry_after_seconds(headers) if waits else None,
            generated=self.redaction.reply(plain_text(generated)),
        )


def _error_of(body: object) -> object:
    return body.get("error", body) if isinstance(body, Mapping) else body


def _fields(error: object) -> Mapping[str, Any]:
    return error if isinstance(error, Mapping) else {}


def _error_in(text: str, content_type: str) -> object:
    """What a server says with an error: its JSON, the title of its page, or else its text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return page_title(text, content_type) or text


class _Watch:
    """Notices bytes that come before a request is sent: they are no answer to it.

    It is called by the HTTP client (its extension `trace`) with the steps of one request. An
    encrypted connection has messages of its own then, so only plain ones are watched.
    """

    def __init__(self, *, has_body: bool) -> None:
        part = "body" if has_body else "headers"
        self._last_step = f"send_request_{part}.started"
        self._stream: Any = None
        self.early = False

    async def __call__(self, step: str, info: Mapping[str, Any]) -> None:
        if step.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._stream = info["return_value"]
        stream = self._stream
        if step.endswith(self._last_step) and stream and not stream.get_extra_info("ssl_object"):
            await asyncio.sleep(_EARLY_SECONDS)
            self.early = bool(stream.get_extra_info("is_readable"))
