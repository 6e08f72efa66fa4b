"""Asks an OpenAI-compatible endpoint for the sentences of one class, and tries again."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import socket
import ssl
import threading
import urllib.error
import urllib.parse
import urllib.request
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

from harness.core.errors import DataError, UsageError, brief
from harness.datasets import prompts
from harness.datasets.prompts.request_text import question, sentences

ENDPOINT = "https://api.openai.com/v1"
KEY_VARIABLE = "OPENAI_API_KEY"

_LONGEST_BYTES = 4 << 20
_LONGEST_PAUSE_S = 60.0


@dataclass(frozen=True)
class Patience:
    """How an endpoint is asked; nothing here changes what is asked."""

    in_flight: int = 4  # requests at a time
    timeout_s: float = 60.0
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


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to another host."""

    def redirect_request(self, *_: Any) -> None:
        return None


class ChatClient:
    """Asks one endpoint; used by several threads at once."""

    def __init__(
        self, endpoint: str, model: str, key: str | None, dataset: str, patience: Patience
    ) -> None:
        self.endpoint, self.model, self.dataset, self.patience = endpoint, model, dataset, patience
        self.stopped = threading.Event()
        self._key = None if key is None else checked_key(key, "the key")
        self._opener = urllib.request.build_opener(_NoRedirect)

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
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        url = f"{self.endpoint}/chat/completions"
        request = urllib.request.Request(url, body, headers)
        timeout_s = self.patience.timeout_s
        try:
            with self._opener.open(request, timeout=timeout_s) as response:
                return bytes(response.read(_LONGEST_BYTES))
        except urllib.error.HTTPError as error:
            with error:
                self._refused(error)
        except (OSError, http.client.HTTPException) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            lasting = (ConnectionRefusedError, socket.gaierror, ssl.SSLCertVerificationError)
            if isinstance(reason, lasting):
                self._end(f"cannot be reached: {reason}")
            if isinstance(reason, TimeoutError):
                raise _Broken(f"no answer within {timeout_s:g} s") from None
            raise _Broken(f"the connection broke: {reason or type(reason).__name__}") from None

    def _refused(self, error: urllib.error.HTTPError) -> NoReturn:
        """Sort an HTTP status: may pass, is this class's own trouble, or ends the call."""
        status = f"HTTP {error.code} {error.reason}"
        if error.code == 401:  # servers repeat part of the key in this answer
            self._end(f"{status}: {'no key was sent' if self._key is None else 'wrong key'}")
        if 300 <= error.code < 400:
            self._end(f"{status}: it moved to {error.headers.get('Location')}")
        with contextlib.suppress(OSError, http.client.HTTPException):
            message = self._hide(
                _error_message(error.read(_LONGEST_BYTES))
            )  # before it is shortened
            status = f"{status}: {brief(ValueError(message), 200)}" if message.strip() else status
        if error.code in (408, 409, 425, 429) or error.code >= 500:
            raise _Broken(status, _seconds(error.headers.get("Retry-After")))
        if error.code in (400, 413, 422):
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
        content = json.loads(answer)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise _Unreadable(
            f"no chat completion: {type(error).__name__}: {brief(error, 100)}"
        ) from None
    if not isinstance(content, str):
        raise _Unreadable(f"no chat completion: its content is a {type(content).__name__}")
    return content


def _error_message(answer: bytes) -> str:
    """The message of an error's body, or the body."""
    try:
        return str(json.loads(answer)["error"]["message"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return answer.decode(errors="replace")


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
        raise UsageError(f"endpoint {shown!r}: an address such as {ENDPOINT} is needed")
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
