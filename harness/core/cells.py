"""Texts in cells of CSV files, so that no spreadsheet takes one for a formula and runs it."""

from __future__ import annotations

# A spreadsheet runs a cell that starts with one of these, or their wide forms.
FORMULA = "=+-@\t\r\n＝＋－＠"
MARK = "'"  # in front of a text, which spreadsheets then show as it is


def is_risky(text: str) -> bool:
    """Whether a text needs MARK in front: one that has it does too, so that it can be undone."""
    return text[:1] in (*FORMULA, MARK)


def safe(value: object) -> object:
    """A cell: texts that are risky get MARK in front; numbers stay numbers."""
    return f"{MARK}{value}" if isinstance(value, str) and is_risky(value) else value
