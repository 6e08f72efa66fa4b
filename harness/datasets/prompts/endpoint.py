"""Scene descriptions from a language model behind any OpenAI-compatible endpoint.

The paper (arXiv 2410.13674, section 3.1) asks GPT-3.5 for ten sentences per class. Answers are kept
as they come, in a journal beside the file, so an interrupted call asks only for the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path

from harness.core.errors import DataError, quoted
from harness.core.progress import ProgressBar
from harness.datasets import prompts
from harness.datasets.prompts.chat_client import (
    ENDPOINT,
    ChatClient,
    NoAnswer,
    Patience,
    Stopped,
    checked_endpoint,
)
from harness.datasets.prompts.journal import Journal

MODEL = "gpt-3.5-turbo-0125"
GIVE_UP = 8  # classes in a row without an answer: the endpoint is at fault, not the class


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
    client = ChatClient(checked_endpoint(endpoint), model, key, dataset, patience or Patience())
    source = {"kind": "endpoint", "endpoint": client.endpoint, "model": model}
    with Journal(out, dataset, source) as journal:
        missing = [name for name in named if name not in journal.of]
        failed = _ask_all(client, journal, missing, bars)
        journal.finish(named)
    return failed


def _ask_all(
    client: ChatClient, journal: Journal, missing: list[str], bars: bool
) -> dict[str, str]:
    """Ask for every class, a few at a time; the reasons of those without a valid answer."""
    failed: dict[str, str] = {}
    in_a_row = 0

    def ask(name: str) -> None:
        journal.add(name, client.ask(name))

    with (
        ThreadPoolExecutor(client.patience.in_flight) as pool,
        ProgressBar(
            total=len(missing), desc="ask", unit="class", disable=not (bars and missing)
        ) as bar,
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
                        f"{client.endpoint}: no valid answer for {GIVE_UP} classes in a row, the "
                        f"last was {quoted(jobs[job])}: {why}"
                    )
                bar.update()
        finally:  # also when interrupted: requests under way end, the others are not begun
            client.stopped.set()
            pool.shutdown(wait=True, cancel_futures=True)
    return failed


def _reason(job: Future[None]) -> str | None:
    """Why a class got no answer, None when it got one; errors that end the call are raised."""
    try:
        job.result()
    except NoAnswer as error:
        return str(error)
    except Stopped:  # another class ended the call, and its own job says why
        return None
    return None
