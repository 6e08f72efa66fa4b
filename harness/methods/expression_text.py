"""The text of an expression such as "A+B(x=1)": its terms, and the values of their arguments.

Nothing is evaluated: a value is read off the syntax tree, within bounds.
"""

from __future__ import annotations

import ast
import json
import math
import warnings
from typing import Any

from harness.core.errors import UsageError, quoted

LONGEST = 1000  # characters: keeps Python's parser off inputs that exhaust it
MOST_TERMS = 12
LARGEST = 1e30  # number
DEEPEST = 3  # values within values
LONGEST_TEXT = 200  # characters of a value
_ALLOWED = "a value is None, True, False, a number, a quoted text or a tuple of these"


def split(expression: str) -> list[str]:
    """Split on '+' outside parentheses and quotes; UsageError for an expression of no such form."""
    if len(expression) > LONGEST:
        raise UsageError(f"an expression of {len(expression)} characters; {LONGEST} are allowed")
    parts, depth, quote, escaped = [""], 0, "", False
    for char in expression:
        if quote:
            if char == quote and not escaped:
                quote = ""
            escaped = char == "\\" and not escaped
        elif char in "\"'":
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        if char == "+" and not quote and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    what = quoted(expression)
    if depth or quote:
        raise UsageError(f"{what}: {'quotes' if quote else 'parentheses'} do not match")
    if not all(part.strip() for part in parts):
        raise UsageError(f"{what}: a term is empty; terms are joined by single '+' signs")
    if len(parts) > MOST_TERMS:
        raise UsageError(f"{what}: {len(parts)} terms; {MOST_TERMS} are allowed")
    return [part.strip() for part in parts]


def name_and_arguments(text: str, expression: str) -> tuple[str, str | None]:
    """The name of a term, and what stands in its parentheses; None without any."""
    name, bracket, rest = text.partition("(")
    if not bracket:
        return name, None
    if not rest.rstrip().endswith(")"):
        raise UsageError(
            f"{quoted(expression)}: cannot read {quoted(text)}; a term is NAME or NAME(key=value)"
        )
    return name, rest.rstrip()[:-1]


def arguments(text: str, name: str, expression: str) -> dict[str, Any]:
    """The named arguments of a term, whose printed name is `name`; UsageError for anything else."""
    call = _parsed(f"_({text}\n)")
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise UsageError(
            f"{quoted(expression)}: cannot read the arguments of {name}: {quoted(text)}"
        )
    if call.args:
        value = _source(call.args[0], text)
        raise UsageError(f"{name} takes named arguments only: write key={value}, not {value}")
    values: dict[str, Any] = {}
    for keyword in call.keywords:
        if keyword.arg is None:
            raise UsageError(f"{name} takes named arguments only: ** is not allowed")
        if keyword.arg in values:
            raise UsageError(f"{name}: argument {quoted(keyword.arg)} is given twice")
        try:
            values[keyword.arg] = plain(_value(keyword.value))
        except ValueError as error:
            value = _source(keyword.value, text)
            raise UsageError(
                f"{name}({keyword.arg[:40]}=...): {value} is not allowed; {str(error) or _ALLOWED}"
            ) from None
    return values


def _parsed(text: str) -> ast.expr | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes and comparisons
            return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


def _source(node: ast.expr, text: str) -> str:
    """What stands in the text for a node, shortened."""
    source = ast.get_source_segment(f"_({text}\n)", node) or "that"
    return source if len(source) <= 60 and source.isprintable() else quoted(source)


def _value(node: ast.expr, depth: int = 0) -> Any:
    """The literal that a node stands for; ValueError for anything else."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant):
        value, sign = node.operand.value, node.op
        if isinstance(value, int | float) and isinstance(sign, ast.USub | ast.UAdd):
            return -value if isinstance(sign, ast.USub) else value
    if isinstance(node, ast.Tuple | ast.List) and depth < DEEPEST:
        return tuple(_value(item, depth + 1) for item in node.elts)
    raise ValueError


def plain(value: Any) -> Any:
    """Equal values get one spelling: lists are tuples, whole floats are integers.

    ValueError, with what is allowed where that is a bound, for other values.
    """
    if isinstance(value, list | tuple):
        return tuple(plain(item) for item in value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError
        value = int(value) if value.is_integer() else value
    if isinstance(value, int) and abs(value) > LARGEST:
        raise ValueError(f"a number lies within ±{LARGEST:g}")
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        raise ValueError(f"a text has at most {LONGEST_TEXT} characters")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError


def literal(value: Any) -> str:
    """A value as expressions spell it."""
    if isinstance(value, tuple):
        items = ", ".join(literal(item) for item in value)
        return f"({items},)" if len(value) == 1 else f"({items})"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
