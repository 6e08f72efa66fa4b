"""A leaderboard for a paper: booktabs, as wide as the text at most, its notes under the float.

Ours or the published numbers alone fit a column of a two-column page; both take the whole width.
Notes that say how the table was made on a screen become comments.
"""

from __future__ import annotations

import re
from pathlib import Path

from harness.results import table_cells
from harness.results.footnotes import BOTH, EMPTY, MISSING, OURS, PUBLISHED, SCREEN, unit
from harness.results.leaderboard import Line, Measured, Part, Printed, Table

PACKAGES = ("booktabs", "tabularx", "threeparttable")
# Of more rows, or numbers in a row of a page or of a column, the size is smaller.
ROWS, NUMBERS_OF_PAGE, NUMBERS_OF_COLUMN = 24, 6, 3
_NUMBERED = re.compile(r"Table \w+: ")  # LaTeX numbers tables itself
_SIGNS = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "±": r"$\pm$", "†": r"$^\dagger$", "–": "--",
    "·": r"$\cdot$", '"': "''", "≥": r"$\geq$", "≤": r"$\leq$", "×": r"$\times$",
}  # fmt: skip
_BREAKS = ("(", "+", "=")  # after which an expression may go on in the next line


def to_latex(table: Table) -> str:
    """A float of its own; its first lines name the packages that it needs."""
    float_, width = ("table*", r"\textwidth") if _paired(table) else ("table", r"\linewidth")
    lines = [_comment(rf"needs \usepackage{{{', '.join(PACKAGES)}}}")]
    lines += [_comment(note) for note in table.notes if _about(note) == SCREEN]
    lines += [rf"\begin{{{float_}}}", r"\centering", r"\begin{threeparttable}"]
    lines += [rf"\caption{{{escaped(_caption(table))}}}", rf"\label{{{_label(table)}}}"]
    lines += [_size(table), r"\setlength{\tabcolsep}{2.5pt}"]
    lines += _tabular(table, width)
    lines += [r"\begin{tablenotes}[flushleft]", r"\scriptsize"]
    lines += [rf"\item {escaped(note)}" for note in _notes(table)]
    lines += [r"\end{tablenotes}", r"\end{threeparttable}", rf"\end{{{float_}}}"]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """A text in which no sign means anything to LaTeX."""
    return "".join(_SIGNS.get(sign, sign) for sign in text)


def _size(table: Table) -> str:
    rows = sum(len(list(table_cells.lines(table, part))) for part in table.parts)
    numbers = len(table_cells.under(table)) * len(table.paper.columns)
    most = NUMBERS_OF_PAGE if _paired(table) else NUMBERS_OF_COLUMN
    return r"\footnotesize" if rows <= ROWS and numbers <= most else r"\scriptsize"


def _tabular(table: Table, width: str) -> list[str]:
    under, budget = table_cells.under(table), table_cells.budget_head(table)
    count = len(under) * len(table.paper.columns) + len(budget)
    lines = [
        rf"\begin{{tabularx}}{{{width}}}{{@{{}}>{{\raggedright\arraybackslash\hangindent=1em}}X"
        rf"{'r' * count}@{{}}}}",
        r"\toprule",
        *_head(table, under, budget),
    ]
    for part in table.parts:
        lines += [r"\midrule"]
        if len(table.parts) > 1:
            title = rf"\textit{{{escaped(part.block.title)}}}"
            lines += [rf"\multicolumn{{{count + 1}}}{{@{{}}l}}{{{title}}} \\", r"\midrule"]
        lines += _rows(table, part)
    return [*lines, r"\bottomrule", r"\end{tabularx}"]


def _head(table: Table, under: list[str], budget: tuple[str, ...]) -> list[str]:
    names = [escaped(column.name) for column in table.paper.columns]
    more = [escaped(name) for name in budget]
    if len(under) == 1:
        return [rf"Method & {' & '.join([*names, *more])} \\"]
    span = len(under)
    tops = [rf"\multicolumn{{{span}}}{{c}}{{{name}}}" for name in names]
    rules = (rf"\cmidrule(lr){{{span * i + 2}-{span * i + span + 1}}}" for i in range(len(names)))
    heads = [*("ours", "publ.", "diff")[:span] * len(names), *more]
    return [
        rf" & {' & '.join([*tops, *[''] * len(more)])} \\",
        " ".join(rules),
        rf"Method & {' & '.join(heads)} \\",
    ]


def _rows(table: Table, part: Part) -> list[str]:
    return [
        rf"{' & '.join([_method(line), *_cells(table, line)])} \\"
        for line in table_cells.lines(table, part)
    ]


def _method(line: Line) -> str:
    text = escaped(line.label)
    for sign in _BREAKS:
        text = text.replace(sign, rf"{sign}\allowbreak{{}}")
    return text + r"\tnote{*}" * line.ours


def _cells(table: Table, line: Line) -> list[str]:
    decimals, texts = table.paper.decimals, []
    for column in table.paper.columns:
        if table.columns != "paper":
            texts.append(_measured(line.measured[column.name], decimals))
        if table.paper.compared and table.columns != "ours":
            texts.append(_printed(line.printed[column.name], decimals))
        if "diff" in table_cells.under(table):
            difference = line.difference(column.name)
            texts.append(EMPTY if difference is None else f"${difference:+.{decimals}f}$")
    return [*(t.replace(EMPTY, "--") for t in texts), *map(escaped, _budget(table, line))]


def _budget(table: Table, line: Line) -> list[str]:
    return table_cells.budget_cells(table, line)


def _measured(cell: Measured, decimals: int) -> str:
    """The number of seeds stands where it is not that of the table."""
    if cell.n == 0:
        return _SIGNS[MISSING]
    if cell.mean is None:
        return EMPTY
    sd = None if cell.sd is None else 100 * cell.sd
    count = "" if cell.n >= cell.expected else rf"\,({cell.n}/{cell.expected})"
    return _number(100 * cell.mean, sd, decimals, cell.best) + count


def _printed(cell: Printed, decimals: int) -> str:
    if cell.number is None:
        return EMPTY
    mark = r"\textsuperscript{\textdagger}" * cell.other
    return mark + _number(cell.number.value, cell.number.sd, decimals, cell.best)


def _number(mean: float, sd: float | None, decimals: int, best: bool) -> str:
    text = f"{mean:.{decimals}f}"
    spread = "" if sd is None else rf"{{\tiny$\pm${sd:.{decimals}f}}}"
    return (rf"\textbf{{{text}}}" if best else text) + spread


def _caption(table: Table) -> str:
    """Without the number of the published table, as LaTeX puts one in front."""
    title = _NUMBERED.sub("", table.paper.title, count=1)
    whose = {
        "ours": f"ours, profile {table.profile}",
        "paper": "published",
        "both": f"ours, profile {table.profile}, beside the published numbers",
    }
    columns = table.columns if table.paper.compared else "ours"
    return f"{title}: {whose[columns]}."


def _label(table: Table) -> str:
    name = Path(table.paper.file.partition(" ")[0]).stem
    more = "" if table.columns == "both" else f"-{table.columns}"
    return f"tab:{name}-{table.profile}{more}"


def _notes(table: Table) -> list[str]:
    about = {"ours": (OURS, BOTH), "paper": (PUBLISHED, BOTH), "both": (OURS, PUBLISHED, BOTH)}
    notes = [note for note in table.notes if _about(note) in about[table.columns]]
    return [_legend(table), *notes]


def _legend(table: Table) -> str:
    text = f"{table.paper.metric}, {unit(table.paper)}"
    text = text[0].upper() + text[1:]
    if table.columns != "paper" and table.seeds:
        count = len(table.seeds)
        text += f"; ours: mean ± sample standard deviation over {count} seeds" * (count > 1)
    bold = ". Bold: best of its column"
    marks = {"ours": f"; {MISSING} no run yet", "paper": ""}.get(
        table.columns, f"; {MISSING} no run yet; {EMPTY} nothing there"
    )
    ours = any(line.ours for part in table.parts for line in part.lines)
    own = "; * rows that were never published" * (ours and table.columns != "paper")
    return f"{text}{bold}{marks}{own}."


def _about(note: str) -> str:
    return getattr(note, "about", SCREEN)


def _paired(table: Table) -> bool:
    return len(table_cells.under(table)) > 1 or table.budgeted


def _comment(text: str) -> str:
    return f"% {' '.join(text.split())}"
