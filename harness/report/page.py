"""From sections to one HTML file that loads nothing."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness.core.metrics import RULES
from harness.report.answer import answer
from harness.report.finding_cards import claim
from harness.report.sections import Section
from harness.report.throughput import Throughput
from harness.results.findings import Findings
from harness.results.findings_text import HEAD, notes
from harness.results.leaderboard import PROFILE_TEXTS, Record
from harness.results.records import installed

QUESTION = "Does synthetic data help?"
LIBRARIES = ("d3.min.js", "plot.umd.min.js")  # assets/LIBRARIES.md says where they are from
SCRIPTS = ("drawing.js", "charts.js", "gallery.js", "page.js")  # each uses those before it


def render(sections: Sequence[Section], findings: Findings, throughput: Throughput | None) -> str:
    """The page; equal sections give equal text."""
    profile, rule, select = findings.profile, findings.rule, findings.select
    records = [record for section in sections for record in section.records]
    opening = answer(findings, [s.dataset for s in sections])
    figures = [f for s in sections for part in s.parts for f in part.figures]
    figures += [opening.figure] if opening.figure else []
    figures += list(throughput.figures) if throughput else []
    galleries = [(s.id, p.gallery.plain) for s in sections for p in s.parts if p.gallery]
    scripts = [*map(_asset, LIBRARIES), "\n".join(map(_asset, SCRIPTS))]
    return str(
        _environment()
        .get_template("page.html")
        .render(
            question=QUESTION,
            answer=opening,
            summary=_summary(sections, records, profile),
            facts=_facts(sections, records),
            profile_says=PROFILE_TEXTS.get(profile, profile),
            sections=sections,
            claims=[claim(finding, findings.claims) for finding in findings.results],
            head=HEAD,
            notes=notes(findings),
            throughput=throughput,
            provenance=_provenance(records, profile, rule, select),
            policy=_policy(*scripts),
            style=Markup(_asset("style.css")),
            scripts=[Markup(script) for script in scripts],
            drawn=_json({f.id: f.plain() for f in figures}),
            galleries=[(name, _json(plain)) for name, plain in galleries],
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("harness.report", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["capitalize_first"] = lambda text: text[:1].upper() + text[1:]
    return environment


def _asset(name: str) -> str:
    return resources.files("harness.report").joinpath("assets", name).read_text(encoding="utf-8")


def _policy(*scripts: str) -> str:
    """Content security policy: these scripts, and no other; nothing from anywhere else."""
    hashes = (base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _json(value: Any) -> Markup:
    """JSON inside a script element: no sign that HTML reads is left."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def _summary(sections: Sequence[Section], records: Sequence[Record], profile: str) -> str:
    names = ", ".join(s.dataset for s in sections)
    return f"{names}: profile {profile}, {_number(len(records), 'run')}."


def _number(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _facts(sections: Sequence[Section], records: Sequence[Record]) -> list[tuple[str, str]]:
    galleries = [p.gallery for s in sections for p in s.parts if p.gallery]
    seeds = sorted({int(r["seed"]) for r in records})
    facts = [
        ("Data sets", str(len(sections))),
        ("Runs", f"{len(records):,}"),
        ("Methods", str(len({r["method"] for r in records}))),
        ("Seeds", ", ".join(map(str, seeds)) or "none"),
    ]
    if galleries:
        facts.append(("Synthetic images", f"{sum(g.total for g in galleries):,}"))
    return facts


def _provenance(
    records: Sequence[Record], profile: str, rule: str, select: str
) -> list[tuple[str, str]]:
    versions: dict[str, set[str]] = {}
    for record in records:
        for name, number in record["versions"].items():
            versions.setdefault(name, set()).add(number)
    trained = "; ".join(
        f"{name} {' and '.join(sorted(versions[name]))}" for name in sorted(versions)
    )
    installed_here = installed(("discl-harness", "polars"))
    seeds = sorted({int(r["seed"]) for r in records})
    keys = hashlib.sha256("".join(sorted(str(r["key"]) for r in records)).encode()).hexdigest()
    return [
        ("Profile", PROFILE_TEXTS.get(profile, profile)),
        (
            "Groups",
            f"rule {rule}: training images per class {RULES[rule].says} ({RULES[rule].origin})",
        ),
        ("Selection", f"{select} epoch{' (chosen on the test set)' * (select == 'oracle')}"),
        ("Seeds", ", ".join(map(str, seeds)) or "none"),
        ("Trained with", trained or "nothing yet"),
        (
            "Page made with",
            "; ".join(f"{name} {number}" for name, number in installed_here.items()),
        ),
        ("Runs", f"{len(records):,}, digest of their keys {keys[:16]}"),
    ]
