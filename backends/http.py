"""Asks one access method over HTTP: returns a completion or raises a CallError.

Joins a dialect, which makes the request's body and reads the answer, and a connection pool, which sends the
request. Sends each request once. The key goes into one header only; it is removed from every answer and error
message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from types import MappingProxyType

import anyio
import orjson
from yarl import URL

from backends import turn_header
from backends.connections import ConnectionPool
from backends.dialects import Dialect
from backends.dialects.providers import provider
from backends.dialects.responses import HttpResponse, split_thoughts
from backends.redaction import Redaction
from backends.server_version import VERSION_PAGES, is_self_hosted, reported_version
from harness.core.errors import CallError
from harness.core.protocols import Clock
from harness.core.vocabulary import AccessMethod, Completion, Prompt

UPSTREAM_PREFIX = "llm_provider-"  # LiteLLM's, for the headers of its upstream
FACTS_S = 5.0  # for all pages that may have a server's version
LIMIT_HEADERS = (
    "x-ratelimit-",
    "anthropic-ratelimit-",
    f"{UPSTREAM_PREFIX}x-ratelimit-",
    f"{UPSTREAM_PREFIX}anthropic-",
)


@lru_cache(1024)
def _limit_header_name(name: str) -> str | None:
    """Returns the name in lower case if the header is about limits."""
    known = name.lower()
    return known if known.startswith(LIMIT_HEADERS) else None


class HttpBackend:
    """A Backend: one access method over a connection pool."""

    def __init__(
        self,
        method: AccessMethod,
        dialect: Dialect,
        pool: ConnectionPool,
        *,
        key: str | None,
        clock: Clock,
        headers: Mapping[str, str] = MappingProxyType({}),
        secrets: Sequence[str] = (),
    ) -> None:
        """Prepares what all requests of the method have in common.

        key       None: none is sent
        headers   sent with every request, besides those of the dialect
        secrets   values of these headers that must not reach the store"""
        self._method = method
        self._dialect = dialect
        self._pool = pool
        self._key = key
        self._clock = clock
        self._extra_headers = headers
        self._secrets = secrets
        self._redaction = Redaction((key, *secrets))
        self._sends_turn_header = turn_header.accepts_turn_header(method)
        self._row = provider(method.provider)
        self._body = dialect.bodies(method)
        self._url = endpoint(method.base_url, dialect.path(method))
        self._headers = {"Content-Type": "application/json", **dialect.headers(self._row, key), **headers}
        self._request = pool.prepare("POST", self._url, self._headers)

    async def complete(self, prompt: Prompt) -> Completion:
        """Returns the completion; see Backend."""
        body = self.request_body(prompt)
        limits: dict[str, str] = {}
        turn = turn_header.header_value(prompt) if self._sends_turn_header and prompt.item else None
        held_s = await self._pool.wait_turn(self._clock)
        try:
            answer = await self._pool.exchange(
                self._request,
                body=body,
                header=None if turn is None else (turn_header.HEADER, turn),
                clock=self._clock if self._method.stream else None,
            )
            limits = self._limits(answer)
            completion = self._dialect.read_answer(
                self._redaction.response(answer), self._clock.wall(), self._row, self._method.good_ends
            )
        except CallError as error:
            error.headers, error.held_s = limits, held_s
            if error.status == 404:
                error.args = (f"{error} (POST {self._url}; check base_url and served_name)",)
            raise self._redaction.error(error) from error.__cause__
        completion = self._redaction.completion(completion)
        if self._method.thinks_aloud:
            completion = split_thoughts(completion)
        return completion._replace(headers=limits, held_s=held_s) if limits or held_s else completion

    def request_body(self, prompt: Prompt) -> bytes:
        """Returns the bytes that are sent for this prompt."""
        return orjson.dumps(self._body(prompt))

    def with_method(self, method: AccessMethod) -> HttpBackend:
        """Returns a backend for this method over the same connections."""
        return HttpBackend(
            method,
            self._dialect,
            self._pool,
            key=self._key,
            clock=self._clock,
            headers=self._extra_headers,
            secrets=self._secrets,
        )

    async def post(self, url: URL, body: object) -> HttpResponse:
        """Returns the answer to this body at another path of the server, whatever its status.

        raises  CallError if the server does not answer"""
        raw = orjson.dumps(body)
        try:
            answer = await self._pool.exchange(self._pool.prepare("POST", url, self._headers), body=raw)
        except CallError as error:
            raise self._redaction.error(error) from error.__cause__
        return self._redaction.response(answer)

    async def served_models(self) -> tuple[str, ...] | None:
        """Returns the names of the models that the server lists; None if its list does not decide what it
        serves.

        A list with a wildcard that the served name matches (LiteLLM: "openai/*") is none.
        raises  CallError if the server does not answer or refuses the key"""
        url = endpoint(self._method.base_url, self._dialect.models_path)
        try:
            answer = await self._pool.exchange(self._pool.prepare("GET", url, self._headers))
            served = self._dialect.read_models(self._redaction.response(answer), self._row)
        except CallError as error:
            raise self._redaction.error(error) from error.__cause__
        name = self._method.served_name
        if served is None or any("*" in listed and fnmatchcase(name, listed) for listed in served):
            return None
        return served if (self._row.lists_models and self._method.lists_models) or name in served else None

    async def server_facts(self) -> dict[str, str]:
        """Returns what a self-hosted server says of itself, without sending it a key: `reported_version` with
        the page that has it, `reported_by`, and `reported_server`, its header; as far as it says so."""
        facts: dict[str, str] = {}
        if not is_self_hosted(self._row):
            return facts
        root = URL(self._method.base_url, encoded=True).origin()
        with anyio.move_on_after(FACTS_S):
            for path in VERSION_PAGES:
                try:
                    answer = await self._pool.exchange(self._pool.prepare("GET", root.with_path(path), {}))
                except CallError:
                    break
                answer = self._redaction.response(answer)
                if (header := answer.headers.get("server")) is not None:
                    facts["reported_server"] = header
                if (version := reported_version(path, answer)) is not None:
                    return facts | {"reported_version": version, "reported_by": path}
        return facts

    def _limits(self, answer: HttpResponse) -> dict[str, str]:
        """Returns the headers about limits, under the names that harness/limits/headers.py knows.

        LiteLLM repeats its upstream's headers under a prefix; its own, if it states some, hold."""
        reported: dict[str, str] = {}
        for name, value in answer.headers.items():
            if (known := _limit_header_name(name)) is not None:
                if known.startswith(UPSTREAM_PREFIX):
                    reported.setdefault(known.removeprefix(UPSTREAM_PREFIX), value)
                else:
                    reported[known] = value
        if not self._row.limit_names:
            return reported
        named = ((self._row.limit_names.get(name, name), value) for name, value in reported.items())
        return {name: value for name, value in named if name is not None}


def endpoint(base_url: str, path: str) -> URL:
    """Returns the URL of a path behind the base URL; a query of the base URL, such as Azure's, stays at the
    end."""
    base, _, query = base_url.partition("?")
    path, _, more = path.partition("?")
    queries = "&".join(part for part in (query, more) if part)
    return URL(base.rstrip("/") + path + (f"?{queries}" if queries else ""), encoded=True)
