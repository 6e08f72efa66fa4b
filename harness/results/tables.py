"""A leaderboard in the formats that people read: terminal text, Markdown, LaTeX, HTML.

Beside each column of ours stand the published number and the difference.
harness.results.table_data has the formats that programs read.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from html import escape as html_escape

from harness.core.registry import one_of
from harness.results import markdown, table_data
from harness.results.footnotes import EMPTY, MISSING, OTHER
from harness.results.leaderboard import Line, Measured, Part, Printed, Table

WIDTH = 100  # of the notes, in characters
BUDGET = ("batches", "images seen", "generated")


def render(table: Table, form: str, width: int | None = None) -> str:
    """The table in one of FORMATS; UsageError for another one. width: of the text, see to_text."""
    one_of("format", form, tuple(FORMATS))
    return to_text(table, width) if form == "text" else FORMATS[form](table)


# ---------------------------------------------------------------- text


def to_text(table: Table, width: int | None = None) -> str:
    """For the terminal: one grid per block, then the notes.

    width: in characters; a grid that is wider goes on below, with the columns that did not fit.
    """
    pieces = [_title(table)]
    for part in table.parts:
        rows = [_head(table, "\n"), *(_cells(table, line, "*{}".format) for line in part.lines)]
        pieces.append("\n\n".join([part.block.title, *_grids(rows, width, len(_under(table)))]))
    notes = (
        textwrap.fill(note, WIDTH, initial_indent="- ", subsequent_indent="  ")
        for note in table.notes
    )
    return "\n\n".join([*pieces, "\n".join(notes)]) + "\n"


def _grids(rows: list[list[str]], width: int | None, span: int) -> list[str]:
    """Rows, the head first, as grids of at most `width` where `span` columns can be as narrow."""
    from tabulate import tabulate

    def grid(columns: range) -> str:
        body = [[row[0], *row[columns.start : columns.stop]] for row in rows]
        align = ("left", *("right",) * len(columns))
        return tabulate(body[1:], body[0], "simple", disable_numparse=True, colalign=align)

    def fits(columns: range) -> bool:
        return width is None or max(map(len, grid(columns).splitlines())) <= width

    grids, start, end = [], 1, len(rows[0])
    while start < end:
        stop = end  # the columns of a number stay together
        while stop > start + span and not fits(range(start, stop)):
            stop -= span
        grids.append(grid(range(start, stop)))
        start = stop
    return grids


# ---------------------------------------------------------------- Markdown


def to_markdown(table: Table) -> str:
    """For a page: the same, best numbers bold."""
    pieces = [f"## {_title(table)}"]
    pieces += [f"### {part.block.title}\n\n{_markdown_grid(table, part)}" for part in table.parts]
    pieces.append("\n".join(f"- {markdown.escape(note)}" for note in table.notes))
    return "\n\n".join(pieces) + "\n"


def _markdown_grid(table: Table, part: Part) -> str:
    head = _head(table, " ")
    rows = (_cells(table, line, "**{}**".format) for line in part.lines)
    body = [[markdown.escape(cell, "|<") for cell in row] for row in rows]  # stars are for bold
    return markdown.grid(head, body)


# ---------------------------------------------------------------- LaTeX

_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "±": r"$\pm$", "†": r"$^\dagger$", "–": "--",
    "·": r"$\cdot$", '"': r"\textquotedbl{}",
}  # fmt: skip


def to_latex(table: Table) -> str:
    """For a paper that uses booktabs and, for quotation marks, the T1 encoding."""
    columns = table.paper.columns
    span = len(_under(table))
    wide = span * len(columns) + len(_budget_head(table))
    lines = [r"% needs \usepackage{booktabs} and \usepackage[T1]{fontenc}", r"\begin{table}"]
    lines += [rf"\caption{{{_latex(_title(table))}}}", rf"\begin{{tabular}}{{l{'r' * wide}}}"]
    lines += [r"\toprule"]
    tops = (rf"\multicolumn{{{span}}}{{c}}{{{_latex(c.name)}}}" for c in columns)
    more = [""] * len(_budget_head(table))
    lines += [rf" & {' & '.join([*tops, *more])} \\"]
    ends = ((span * i + 2, span * i + span + 1) for i in range(len(columns)))
    lines += [" ".join(rf"\cmidrule(lr){{{first}-{last}}}" for first, last in ends)]
    heads = [*_under(table) * len(columns), *_budget_head(table)]
    lines += [rf"Method & {' & '.join(heads)} \\"]
    for part in table.parts:
        lines += [r"\midrule", rf"\multicolumn{{{wide + 1}}}{{l}}{{{_latex(part.block.title)}}} \\"]
        lines += [r"\midrule"]
        for line in part.lines:
            cells = _cells(table, line, lambda text: f"\0{text}\1")
            shown = (_latex(c).replace("\0", r"\textbf{").replace("\1", "}") for c in cells)
            lines += [rf"{' & '.join(shown)} \\"]
    lines += [r"\bottomrule", r"\end{tabular}", r"\par\footnotesize", r"\begin{itemize}"]
    lines += [rf"\item {_latex(note)}" for note in table.notes]
    return "\n".join([*lines, r"\end{itemize}", r"\end{table}"]) + "\n"


def _latex(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)


# ---------------------------------------------------------------- HTML

_STYLE = (
    "body{font:14px/1.4 system-ui,sans-serif;margin:1em}div{overflow-x:auto}"
    "table{border-collapse:collapse;margin:1em 0}"
    "th,td{padding:.2em .6em;text-align:right;white-space:nowrap}"
    "th[colspan]{text-align:center}"
    "th:first-child,td:first-child{text-align:left}thead{border-bottom:2px solid}"
    "tbody tr:nth-child(even){background:#8881}caption{text-align:left;font-weight:bold}"
)


def to_html(table: Table) -> str:
    """A page of its own, without scripts and without anything from elsewhere."""
    title = html_escape(_title(table))
    lines = ["<!doctype html>", '<html lang="en">', '<meta charset="utf-8">']
    lines += ['<meta name="viewport" content="width=device-width">', f"<title>{title}</title>"]
    lines += [f"<style>{_STYLE}</style>", f"<h1>{title}</h1>"]
    for part in table.parts:
        lines += [f"<div><table><caption>{html_escape(part.block.title)}</caption>", "<thead>"]
        span = len(_under(table))
        tops = (f'<th colspan="{span}">{html_escape(c.name)}</th>' for c in table.paper.columns)
        more = "".join(f"<th>{name}</th>" for name in _budget_head(table))
        lines += [f"<tr><th></th>{''.join(tops)}{'<th></th>' * len(_budget_head(table))}</tr>"]
        under = "".join(f"<th>{html_escape(u)}</th>" for u in _under(table))
        under *= len(table.paper.columns)
        lines += [f"<tr><th>Method</th>{under}{more}</tr>", "</thead><tbody>"]
        for line in part.lines:
            cells = (html_escape(c) for c in _cells(table, line, lambda text: f"\0{text}\1"))
            shown = (c.replace("\0", "<b>").replace("\1", "</b>") for c in cells)
            lines += [f"<tr>{''.join(f'<td>{c}</td>' for c in shown)}</tr>"]
        lines += ["</tbody></table></div>"]
    lines += [
        "<ul>",
        *(f"<li>{html_escape(note)}</li>" for note in table.notes),
        "</ul>",
        "</html>",
    ]
    return "\n".join(lines) + "\n"


# ---------------------------------------------------------------- what all of them show


def _title(table: Table) -> str:
    return f"{table.paper.title} [ours: profile {table.profile}]"


def _under(table: Table) -> list[str]:
    """What stands below a column's name: of a table without published numbers, ours alone."""
    ours = f"ours, {table.profile}"
    return [ours, "published", "diff"] if table.paper.compared else [ours]


def _head(table: Table, gap: str) -> list[str]:
    names = [c.name for c in table.paper.columns]
    cells = [f"{name}{gap}{under}" for name in names for under in _under(table)]
    return ["Method", *cells, *_budget_head(table)]


def _budget_head(table: Table) -> tuple[str, ...]:
    return BUDGET if table.budgeted else ()


def _cells(table: Table, line: Line, bold: Callable[[str], str]) -> list[str]:
    decimals = table.paper.decimals
    cells = [f"{line.label} [ours]" if line.ours else line.label]
    for column in table.paper.columns:
        cells.append(_measured(line.measured[column.name], decimals, bold))
        if not table.paper.compared:
            continue
        difference = line.difference(column.name)
        cells += [
            _printed(line.printed[column.name], decimals, bold),
            EMPTY if difference is None else f"{difference:+.{decimals}f}",
        ]
    if table.budgeted:
        numbers = (None,) * len(BUDGET) if line.budget is None else line.budget.numbers
        cells += [EMPTY if number is None else f"{number:,}" for number in numbers]
    return cells


def _measured(cell: Measured, decimals: int, bold: Callable[[str], str]) -> str:
    if cell.n == 0:
        return MISSING
    if cell.mean is None:
        return EMPTY
    sd = "" if cell.sd is None else f" ± {100 * cell.sd:.{decimals}f}"
    count = f"{cell.n}" if cell.n >= cell.expected else f"{cell.n} of {cell.expected}"
    text = f"{100 * cell.mean:.{decimals}f}{sd} ({count})"
    return bold(text) if cell.best else text


def _printed(cell: Printed, decimals: int, bold: Callable[[str], str]) -> str:
    if cell.number is None:
        return EMPTY
    text = cell.number.text(decimals)
    return (OTHER if cell.other else "") + (bold(text) if cell.best else text)


FORMATS: dict[str, Callable[[Table], str]] = {
    "text": to_text,
    "markdown": to_markdown,
    "latex": to_latex,
    "csv": table_data.to_csv,
    "json": table_data.to_json,
    "html": to_html,
}
SUFFIXES = {".txt": "text", ".md": "markdown", ".tex": "latex", ".csv": "csv", ".json": "json"}
SUFFIXES |= {".html": "html"}
