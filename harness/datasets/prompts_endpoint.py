"""Scene descriptions from a language model behind any OpenAI-compatible endpoint.

The paper (arXiv 2410.13674, section 3.1) asks GPT-3.5 for ten sentences per class. Answers are kept
as they come, in a journal beside the file, so an interrupted call asks only for the rest.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
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
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_after_attempt,
    wait_exponential,
)
from tqdm import tqdm

from harness.core.errors import DataError, UsageError, brief
from harness.datasets import prompts

ENDPOINT = "https://api.openai.com/v1"
MODEL = "gpt-3.5-turbo-0125"
KEY_VARIABLE = "OPENAI_API_KEY"
GIVE_UP = 8  # classes in a row without an answer: the endpoint is at fault, not the class

_NUMBERING = re.compile(r"(?:prompt\s*)?\d+\s*[.):]\s+", re.IGNORECASE)
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


def question(classname: str, dataset: str) -> str:
    """What the model is asked: the paper's requirements and the format of the answer."""
    name = prompts.spoken(classname)
    return (
        f"Write {prompts.PER_CLASS} descriptions of random scenes that contain only the class "
        f'"{name}" of the data set {dataset}. All of them must differ from each other, each must '
        f"have at least {prompts.MIN_WORDS} words, and they are intended as prompts that guide "
        "Stable Diffusion. Answer with the descriptions alone, one per line, in this format:\n"
        "prompt1\nprompt2"
    )


def sentences(answer: str) -> tuple[list[str], str]:
    """The usable lines of an answer, at most ten, and in words what was wrong with the others.

    Numbering "n. " is removed; lines of fewer than 15 words and repeated ones are not usable.
    """
    lines = [" ".join(line.split()) for line in answer.splitlines()]
    lines = [
        _NUMBERING.sub("", line, count=1) if _NUMBERING.match(line) else line for line in lines
    ]
    lines = [line for line in lines if line]
    long = [line for line in lines if len(line.split()) >= prompts.MIN_WORDS]
    first: dict[str, str] = {}
    for line in long:
        first.setdefault(line.casefold(), line)
    usable = list(first.values())
    why = (
        f"{len(usable)} usable lines of {len(lines)} ({len(lines) - len(long)} shorter than "
        f"{prompts.MIN_WORDS} words, {len(long) - len(usable)} repeated)"
    )
    return usable[: prompts.PER_CLASS], why


def key_from_environment(variable: str = KEY_VARIABLE) -> str:
    """The endpoint's key; UsageError when the variable is not set or cannot be a key."""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UsageError(f"the endpoint's key is read from ${variable}, which is not set")
    return _checked_key(key, f"${variable}")


def fetch(
    classes: Iterable[str],
    out: Path,
    *,
    dataset: str,
    endpoint: str = ENDPOINT,
    model: str = MODEL,
    key: str | None = None,
    patience: Patience | None = None,
    bars: bool = True,
) -> dict[str, str]:
    """Ask for the sentences of every class that `out` lacks and write them all to `out`.

    Returns the classes without a valid answer, with the reason; the file holds the others, and
    another call asks for those alone. key: sent as a bearer token, None sends none; it is never
    written. Raises UsageError (endpoint, key, class name, a file of another source) and DataError
    (the endpoint is not there, refuses, or fails for GIVE_UP classes in a row); what came is kept.
    """
    named = list(dict.fromkeys(classes))
    for name in named:
        prompts.spoken(name)
    asker = _Asker(_checked_endpoint(endpoint), model, key, dataset, patience or Patience())
    source = {"kind": "endpoint", "endpoint": asker.endpoint, "model": model}
    with _Journal(out, dataset, source) as journal:
        missing = [name for name in named if name not in journal.of]
        failed = _ask_all(asker, journal, missing, bars)
        journal.finish(named)
    return failed


def _ask_all(asker: _Asker, journal: _Journal, missing: list[str], bars: bool) -> dict[str, str]:
    """Ask for every class, a few at a time; the reasons of those without a valid answer."""
    failed: dict[str, str] = {}
    in_a_row = 0

    def ask(name: str) -> None:
        journal.add(name, asker.ask(name))

    with (
        ThreadPoolExecutor(asker.patience.in_flight) as pool,
        tqdm(total=len(missing), desc="ask", unit="class", disable=not (bars and missing)) as bar,
    ):
        jobs = {pool.submit(ask, name): name for name in missing}
        try:
            for job in as_completed(jobs):
                why = _reason(job)
                in_a_row = in_a_row + 1 if why else 0
                if why:
                    failed[jobs[job]] = why
                if in_a_row == GIVE_UP:
                    raise DataError(
                        f"{asker.endpoint}: no valid answer for {GIVE_UP} classes in a row, the "
                        f"last was {jobs[job]!r}: {why}"
                    )
                bar.update()
        finally:  # also when interrupted: requests under way end, the others are not begun
            asker.stopped.set()
            pool.shutdown(wait=True, cancel_futures=True)
    return failed


def _reason(job: Future[None]) -> str | None:
    """Why a class got no answer, None when it got one; errors that end the call are raised."""
    try:
        job.result()
    except _NoAnswer as error:
        return str(error)
    except _Stopped:  # another class ended the call, and its own job says why
        return None
    return None


# ---------------------------------------------------------------- one class, one request


class _NoAnswer(Exception):
    """This class gets no valid answer."""


class _Stopped(Exception):
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


class _Asker:
    """Asks one endpoint; used by several threads at once."""

    def __init__(
        self, endpoint: str, model: str, key: str | None, dataset: str, patience: Patience
    ) -> None:
        self.endpoint, self.model, self.dataset, self.patience = endpoint, model, dataset, patience
        self.stopped = threading.Event()
        self._key = None if key is None else _checked_key(key, "the key")
        self._opener = urllib.request.build_opener(_NoRedirect)

    def ask(self, classname: str) -> list[str]:
        """Nine or ten sentences; asks again while the answer is invalid, or raises _NoAnswer."""
        message = {"role": "user", "content": question(classname, self.dataset)}
        body = json.dumps({"model": self.model, "messages": [message]}).encode()
        why = ""
        for _ in range(self.patience.asks):
            try:
                found, why = sentences(self._hide(_content(self._post(body))))
            except _Unreadable as error:
                found, why = [], self._hide(str(error))
            if len(found) >= prompts.FEWEST:
                return found
        raise _NoAnswer(f"{why}; asked {self.patience.asks} times")

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
            raise _NoAnswer(f"{self._hide(str(error))}; tried {tries} times") from None

    def _pause(self, state: RetryCallState) -> float:
        """Seconds before another try: twice as long each time, or what the endpoint asks for."""
        error = state.outcome.exception() if state.outcome else None
        asked_s = error.wait_s if isinstance(error, _Broken) else 0.0
        doubling = wait_exponential(multiplier=self.patience.pause_s)
        return min(max(doubling(state), asked_s), _LONGEST_PAUSE_S)

    def _send(self, body: bytes) -> bytes:
        if self.stopped.is_set():
            raise _Stopped
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
            said = self._hide(_said(error.read(_LONGEST_BYTES)))  # before it is shortened
            status = f"{status}: {brief(ValueError(said), 200)}" if said.strip() else status
        if error.code in (408, 409, 425, 429) or error.code >= 500:
            raise _Broken(status, _seconds(error.headers.get("Retry-After")))
        if error.code in (400, 413, 422):
            raise _NoAnswer(status)
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


def _said(answer: bytes) -> str:
    """The message of an error's body, or the body."""
    try:
        return str(json.loads(answer)["error"]["message"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return answer.decode(errors="replace")


def _seconds(header: str | None) -> float:
    """Seconds of a Retry-After header; 0 for none and for a date."""
    return float(header) if header and re.fullmatch(r"\d{1,6}(\.\d+)?", header.strip()) else 0.0


def _checked_endpoint(endpoint: str) -> str:
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


def _checked_key(key: str, where: str) -> str:
    key = key.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise UsageError(f"{where} is no key: it must be one word of printable ASCII")
    return key


# ---------------------------------------------------------------- what has come so far


class _Journal:
    """Answers of `out` and of the journal beside it, one JSON line each behind a header.

    A line that was cut short is dropped. One process at a time: UsageError for a second one.
    """

    def __init__(self, out: Path, dataset: str, source: dict[str, Any]) -> None:
        self.out, self.path = out, out.with_name(f"{out.name}.part")
        self.dataset, self.source = dataset, source
        self.date = datetime.datetime.now(datetime.UTC).date().isoformat()
        self.of: dict[str, tuple[str, ...]] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> _Journal:
        if self.out.exists():
            known = prompts.read(self.out, dataset=self.dataset)
            self._same(known.source, self.out)
            self.of |= known.of
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a+b")
        except OSError as error:
            raise DataError(f"cannot write {self.path}: {error.strerror or error}") from error
        try:
            self._begin()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._file.close()

    def _begin(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"another process is asking for {self.out} already") from None
        if os.fstat(self._file.fileno()).st_nlink == 0:
            raise UsageError(f"another process has just finished {self.out}; call again")
        self._file.seek(0)
        lines = self._file.read().split(b"\n")
        if len(lines) <= 2:  # a header without an answer binds nobody
            lines = [b""]
        self._file.truncate(sum(len(line) + 1 for line in lines[:-1]))
        for number, line in enumerate(lines[:-1], 1):
            try:
                self._take(json.loads(line), number)
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                raise DataError(f"{self.path}, line {number}: damaged: {brief(error)}") from error
        if len(lines) == 1:
            source = {**self.source, "date": self.date}
            version = {"version": prompts.VERSION}
            self._append({**version, "dataset": self.dataset, "source": source})

    def _take(self, value: dict[str, Any], number: int) -> None:
        if number > 1:
            prompts.check(value["prompts"], f"{self.path}, line {number}")
            self.of[value["class"]] = tuple(value["prompts"])
            return
        if value["version"] != prompts.VERSION:
            raise DataError(f"{self.path} has version {value['version']!r}")
        if value["dataset"] != self.dataset:
            raise UsageError(f"{self.path} holds the prompts of {value['dataset']!r}")
        self._same(value["source"], self.path)

    def _same(self, source: Any, where: Path) -> None:
        """Refuse to mix answers of two models in one file; the earliest date stays."""
        for field, wanted in self.source.items():
            if source.get(field) != wanted:
                raise UsageError(
                    f"{where} has prompts of {field} {source.get(field)!r}, not {wanted!r}; "
                    "move it away or name another file"
                )
        self.date = min(self.date, str(source.get("date", self.date)))

    def add(self, classname: str, texts: Sequence[str]) -> None:
        """Keep an answer, at once and for good."""
        with self._lock:
            self._append({"class": classname, "prompts": list(texts)})
            self.of[classname] = tuple(texts)

    def _append(self, value: dict[str, Any]) -> None:
        try:
            self._file.write(json.dumps(value, ensure_ascii=False).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise DataError(f"cannot write {self.path}: {error.strerror or error}") from error

    def finish(self, classes: Sequence[str]) -> None:
        """Write the file, in the order of `classes`, and drop the journal."""
        order = dict.fromkeys([*(c for c in classes if c in self.of), *self.of])
        of = {name: self.of[name] for name in order}
        source = {**self.source, "date": self.date}
        prompts.write(self.out, prompts.Prompts(self.dataset, source, of))
        self.path.unlink()
