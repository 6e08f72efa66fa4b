"""Markdown for pages that stay in the repository: grids as short as they can be, and escapes."""

from __future__ import annotations

from collections.abc import Sequence


def grid(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A table whose first `left` columns are aligned left and whose others right.

    Its cells are not padded as tabulate's are: a number that gets longer changes its own line only.
    """
    rule = [*["---"] * left, *["---:"] * (len(head) - left)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, rule, *rows])


def escape(text: str, signs: str = "*|<") -> str:
    """Keeps signs that mean something in Markdown from meaning it."""
    return text.translate({ord(sign): f"\\{sign}" for sign in signs})
