"""What the published tables say of themselves, as text, Markdown or JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from harness.core.metrics import RULES
from harness.core.registry import one_of
from harness.results import audit
from harness.results.audit import HEADLINE, TOLERANCE, Change, EqualRows, Finding, Product
from harness.results.markdown import escape
from harness.results.published_table import Paper

FORMATS = ("text", "markdown", "json")
NONE = "none"  # no grouping explains the row
ABOVE = "*"  # after a residual above rounding


@dataclass(frozen=True)
class Section:
    title: str
    says: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def sections(papers: Sequence[Paper], every: bool = False) -> list[Section]:
    """Findings by kind. every: rows that add up under the usual grouping, too."""
    findings = audit.audit(papers)
    named = {name: says for paper in papers for name, says in paper.groupings.items()}
    return [
        _groupings(findings, every),
        _foreign(findings, named),
        _unexplained(findings),
        _equal_rows(audit.equal_rows(papers)),
        _changes(audit.changes(papers)),
        _products(audit.products(papers)),
    ]


def _where(f: Finding) -> tuple[str, str, str]:
    return f"{f.table}{', v1' if f.v1 else ''}", f.block, f.row


def _nearest(f: Finding) -> str:
    return f"{f.by_rule[f.best].residual:+z.2f}{f' {ABOVE}' * f.above_rounding}"


def _groupings(findings: Sequence[Finding], every: bool) -> Section:
    off = [f for f in findings if f.flagged]
    rows = [
        (
            *_where(f),
            f"{f.overall:.2f}",
            f"{f.by_rule[HEADLINE].value:.2f}",
            f"{f.by_rule[HEADLINE].residual:+z.2f}",
            f.best if f.explained else NONE,
            _nearest(f),
            ", ".join(f"{name} {f.by_rule[name].residual:+z.2f}" for name in f.fits[1:]) or "–",
        )
        for f in (findings if every else off)
    ]
    rules = "; ".join(f"{name}: {rule.says}" for name, rule in RULES.items())
    says = (
        f"{len(findings)} rows: {len(off)} are more than {TOLERANCE} points off under rule "
        f"{HEADLINE}, {sum(not f.explained for f in findings)} under every rule. Off: the printed "
        "Overall less the mean of Many, Medium and Few weighted by the rule's numbers of classes; "
        "on a balanced test set it is nought but for rounding. Nearest: the same under the "
        f"grouping that fits best, {ABOVE} where rounding of the printed numbers cannot make it "
        f"({sum(f.above_rounding for f in findings)} rows): the row fits, but is not explained to "
        f"the last digit. Also fits: other groupings within {TOLERANCE} points "
        f"({sum(len(f.fits) > 1 for f in findings)} rows have some), which this sum cannot tell "
        f"apart. {rules}."
    )
    head = (
        "Table",
        "Block",
        "Row",
        "Overall",
        f"Under {HEADLINE}",
        "Off",
        "Explained by",
        "Nearest",
        "Also fits",
    )
    title = "Overall against its own groups"
    return Section(title if every else f"{title}: off under rule {HEADLINE}", says, head, rows)


def _foreign(findings: Sequence[Finding], named: dict[str, str]) -> Section:
    foreign = [f for f in findings if f.best not in RULES]
    rows = [(*_where(f), f.best, _nearest(f)) for f in foreign]
    says = "Many, Medium and Few of these rows cannot stand beside those of the other rows. "
    says += "; ".join(f"{name}: {named[name]}" for name in sorted({f.best for f in foreign})) + "."
    head = ("Table", "Block", "Row", "Grouping", "Off under it")
    return Section("Rows grouped by another table's classes", says, head, rows)


def _unexplained(findings: Sequence[Finding]) -> Section:
    rows = [
        (*_where(f), f"{f.overall:.2f}", f.best, _nearest(f)) for f in findings if not f.explained
    ]
    says = "A misprint, or numbers of different epochs or runs."
    head = ("Table", "Block", "Row", "Overall", "Nearest grouping", "Off under it")
    return Section("Rows that no grouping explains", says, head, rows)


def _equal_rows(groups: Sequence[EqualRows]) -> Section:
    rows = [(t.table, t.block, " = ".join(t.rows), " ".join(t.notes) or "–") for t in groups]
    says = "The same number in every column."
    return Section("Rows printed twice", says, ("Table", "Block", "Rows", "Note"), rows)


def _changes(changes: Sequence[Change]) -> Section:
    def off(value: float | None) -> str:
        return "–" if value is None else f"{value:+z.2f}"

    rows = [
        (c.table, c.block, c.row, c.what, c.v1, c.v4, off(c.v1_off), off(c.v4_off)) for c in changes
    ]
    says = (
        f"Off: Overall less the mean of the row's groups under rule {HEADLINE}, with all numbers "
        "of that version."
    )
    head = ("Table", "Block", "Row", "What", "v1", "v4", "v1 off", "v4 off")
    return Section("Version 1 of the paper against version 4", says, head, rows)


def _products(counts: Sequence[Product]) -> Section:
    rows = [
        (
            p.block,
            f"{p.generated:,}",
            f"{p.expected:,}",
            f"{100 * p.generated / p.expected:.2f} %",
            "yes" if p.generated == p.one_level else "no",
            f"{p.rate:.2f}",
            f"{p.kept_share:.2f}",
        )
        for p in counts
    ]
    says = (
        "Asked: hard images x levels x seeds. One level: whether what was generated is hard images "
        "x seeds, one image for each although several levels are printed."
    )
    head = ("Data set", "Generated", "Asked", "Share", "One level", "Rate", "Kept / generated")
    return Section("Synthetic images, as counted", says, head, rows)


# ---------------------------------------------------------------- formats


def render(parts: Sequence[Section], form: str = "text") -> str:
    """In one of FORMATS."""
    one_of("format", form, FORMATS)
    if form == "json":
        return json.dumps([_plain(s) for s in parts], indent=1, ensure_ascii=False)
    return "\n\n".join(_readable(s, form == "markdown") for s in parts)


def _plain(section: Section) -> dict[str, object]:
    rows = [dict(zip(section.head, row, strict=True)) for row in section.rows]
    return {"title": section.title, "says": section.says, "rows": rows}


def _readable(section: Section, markdown: bool) -> str:
    from tabulate import tabulate

    style = "github" if markdown else "simple"
    rows = [[escape(c, "|") for c in row] if markdown else list(row) for row in section.rows]
    grid = tabulate(rows, section.head, style, disable_numparse=True)
    if markdown:
        says = escape(section.says, "<")
        return f"## {section.title}\n\n{grid}\n\n{says}"
    title = f"{section.title}\n{'=' * len(section.title)}"
    return f"{title}\n\n{grid}\n\n{textwrap.fill(section.says, 100)}"
