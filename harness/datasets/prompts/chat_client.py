"""Asks an OpenAI-compatible endpoint for the sentences of one class, and tries again."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import socket
import ssl
import threading
import urllib.parse
from dataclasses import dataclass
from typing import Any, NoReturn

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_after_attempt,
    wait_exponential,
)

from harness.core import documents
from harness.core.errors import DataError, UsageError, brief, escaped, quoted, shortened
from harness.datasets import prompts
from harness.datasets.prompts.request_text import question, sentences

ENDPOINT = "https://api.openai.com/v1"
KEY_VARIABLE = "OPENAI_API_KEY"

_LONGEST_BYTES = 4 << 20  # of an answer
_LONGEST_TEXT = 100_000  # characters of an error's message that are looked at
_LONGEST_PAUSE_S = 60.0
# Why no connection comes about, now or later.
_LASTING = (ConnectionRefusedError, socket.gaierror, ssl.SSLCertVerificationError)


@dataclass(frozen=True)
class Patience:
    """How an endpoint is asked; nothing here changes what is asked."""

    in_flight: int = 4  # requests at a time
    timeout_s: float = 60.0  # of a request, from its beginning to the last byte of its answer
    asks: int = 6  # answers of a class that are looked at before it is given up
    retries: int = 5  # of one request, after HTTP 429 and 5xx and broken connections
    pause_s: float = 1.0  # before the first retry; each further one waits twice as long

    def __post_init__(self) -> None:
        least = {"in_flight": 1, "timeout_s": 1e-3, "asks": 1, "retries": 0, "pause_s": 0}
        for field, low in least.items():
            if not getattr(self, field) >= low:
                value = getattr(self, field)
                raise UsageError(f"{field}: {value!r} is not allowed; at least {low:g}")


def key_from_environment(variable: str = KEY_VARIABLE) -> str:
    """The endpoint's key; UsageError when the variable is not set or cannot be a key."""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UsageError(f"the endpoint's key is read from ${variable}, which is not set")
    return checked_key(key, f"${variable}")


class NoAnswer(Exception):
    """This class gets no valid answer."""


class Stopped(Exception):
    """The call ends; this class was not asked."""


class _Broken(Exception):
    """This request failed in a way that may pass; wait_s: what the endpoint asks to wait."""

    def __init__(self, why: str, wait_s: float = 0.0) -> None:
        super().__init__(why)
        self.wait_s = wait_s


class _Unreadable(Exception):
    """What came back is no chat completion."""


class ChatClient:
    """Asks one endpoint; used by several threads at once."""

    def __init__(
        self, endpoint: str, model: str, key: str | None, dataset: str, patience: Patience
    ) -> None:
        self.endpoint, self.model, self.dataset, self.patience = endpoint, model, dataset, patience
        self.stopped = threading.Event()
        self._key = None if key is None else checked_key(key, "the key")

    def ask(self, classname: str) -> list[str]:
        """Nine or ten sentences; asks again while the answer is invalid, or raises NoAnswer."""
        message = {"role": "user", "content": question(classname, self.dataset)}
        body = json.dumps({"model": self.model, "messages": [message]}).encode()
        why = ""
        for _ in range(self.patience.asks):
            try:
                texts, why = sentences(self._hide(_content(self._post(body))))
            except _Unreadable as error:
                texts, why = [], self._hide(str(error))
            if len(texts) >= prompts.FEWEST:
                return texts
        raise NoAnswer(f"{why}; asked {self.patience.asks} times")

    def _post(self, body: bytes) -> bytes:
        """The answer to one request, tried again while that may help."""
        attempts = Retrying(
            retry=retry_if_exception_type(_Broken),
            stop=stop_after_attempt(self.patience.retries + 1),
            wait=self._pause,
            sleep=sleep_using_event(self.stopped),
            reraise=True,
        )
        try:
            return bytes(attempts(self._send, body))
        except _Broken as error:
            tries = self.patience.retries + 1
            raise NoAnswer(f"{self._hide(str(error))}; tried {tries} times") from None

    def _pause(self, state: RetryCallState) -> float:
        """Seconds before another try: twice as long each time, or what the endpoint asks for."""
        error = state.outcome.exception() if state.outcome else None
        requested_s = error.wait_s if isinstance(error, _Broken) else 0.0
        doubling = wait_exponential(multiplier=self.patience.pause_s)
        return min(max(doubling(state), requested_s), _LONGEST_PAUSE_S)

    def _send(self, body: bytes) -> bytes:
        if self.stopped.is_set():
            raise Stopped
        httpx = _library()
        timeout_s = self.patience.timeout_s
        try:
            status, headers, answer = asyncio.run(self._exchange(body))
        except TimeoutError:
            raise _Broken(f"no answer within {timeout_s:g} s") from None
        except httpx.TimeoutException:
            raise _Broken(f"no answer within {timeout_s:g} s") from None
        except httpx.ConnectError as error:
            reason = _root(error)
            if isinstance(reason, _LASTING):
                refused = isinstance(reason, ConnectionRefusedError)
                why = "connection refused" if refused else brief(reason)
                self._end(f"cannot be reached: {why}")
            raise _Broken(f"the connection broke: {brief(reason)}") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise _Broken(f"the connection broke: {brief(error)}") from None
        if status == 200:
            return answer
        return self._refused(status, headers, answer)

    async def _exchange(self, body: bytes) -> tuple[int, Any, bytes]:
        """Status, headers and body, all within the time; TimeoutError says that it is over.

        Redirects are not followed: they would carry the key to another host. What is longer than
        an answer can be, is not read.
        """
        httpx = _library()
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # what is small stays small
        }
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        url, answer = f"{self.endpoint}/chat/completions", b""
        async with (
            asyncio.timeout(self.patience.timeout_s),
            httpx.AsyncClient(timeout=None, follow_redirects=False) as client,
            client.stream("POST", url, content=body, headers=headers) as response,
        ):
            async for part in response.aiter_raw():
                answer += part
                if len(answer) > _LONGEST_BYTES:
                    answer = b""
                    break
        return response.status_code, response.headers, answer

    def _refused(self, code: int, headers: Any, answer: bytes) -> NoReturn:
        """Sort an HTTP status: may pass, is this class's own trouble, or ends the call."""
        status = f"HTTP {code} {http.client.responses.get(code, '')}".rstrip()
        if code == 401:  # servers repeat part of the key in this answer
            self._end(f"{status}: {'no key was sent' if self._key is None else 'wrong key'}")
        if 300 <= code < 400:
            location = self._hide(headers.get("Location", "nowhere"))
            self._end(f"{status}: it moved to {shortened(escaped(location), 100)}")
        message = self._hide(_error_message(answer))  # before it is shortened
        status = f"{status}: {brief(ValueError(message), 150)}" if message.strip() else status
        if code in (408, 409, 425, 429) or code >= 500:
            raise _Broken(status, _seconds(headers.get("Retry-After")))
        if code in (400, 413, 422):
            raise NoAnswer(status)
        self._end(status)

    def _end(self, why: str) -> NoReturn:
        """Stop all threads: no class can be answered."""
        self.stopped.set()
        raise DataError(self._hide(f"{self.endpoint}: {why}")) from None

    def _hide(self, text: str) -> str:
        """Without the key, which a server may repeat, and without halves of characters."""
        text = text.encode(errors="replace").decode()
        return text.replace(self._key, "***") if self._key else text


def _content(answer: bytes) -> str:
    """The message of a chat completion; _Unreadable when it is none."""
    try:
        value = documents.json_text(answer, "no chat completion", "answer")
        content = value["choices"][0]["message"]["content"]
    except DataError as error:
        raise _Unreadable(brief(error, 150)) from None
    except (LookupError, TypeError) as error:
        fault = f"{type(error).__name__}: {brief(error, 60)}"
        raise _Unreadable(f"no chat completion: {fault}") from None
    if not isinstance(content, str):
        raise _Unreadable(f"no chat completion: its content is a {type(content).__name__}")
    return content


def _error_message(answer: bytes) -> str:
    """The message of an error's body, or the body."""
    try:
        return str(documents.json_text(answer, "it", "error")["error"]["message"])[:_LONGEST_TEXT]
    except (DataError, LookupError, TypeError):
        return answer[:_LONGEST_TEXT].decode(errors="replace")


def _library() -> Any:
    """The HTTP library, which takes a while to import."""
    import httpx2

    return httpx2


def _root(error: BaseException) -> BaseException:
    """What an error came from at first."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


def _seconds(header: str | None) -> float:
    """Seconds of a Retry-After header; 0 for none and for a date."""
    return float(header) if header and re.fullmatch(r"\d{1,6}(\.\d+)?", header.strip()) else 0.0


def checked_endpoint(endpoint: str) -> str:
    """Without "/chat/completions"; UsageError unless it is http(s) with a host and no secrets."""
    text = endpoint.strip().rstrip("/").removesuffix("/chat/completions")
    try:
        parts = urllib.parse.urlsplit(text)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    if not fine or not text.isascii() or not text.isprintable() or " " in text:
        shown = re.sub(r"[^/]*@", "***@", endpoint)
        raise UsageError(f"endpoint {quoted(shown)}: an address such as {ENDPOINT} is needed")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError(
            "the endpoint's address must not hold a user, key or query: they would be "
            f"stored with the prompts; the key is read from ${KEY_VARIABLE}"
        )
    return text


def checked_key(key: str, where: str) -> str:
    key = key.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise UsageError(f"{where} is no key: it must be one word of printable ASCII")
    return key
