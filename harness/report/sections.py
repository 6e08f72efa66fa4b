"""A data set's part of the page: its leaderboards, charts and gallery, or why one is missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from harness.core.errors import DataError
from harness.pipeline import stages
from harness.pipeline.workspace import Workspace
from harness.report import ablations, boards, charts, traces
from harness.report.boards import Board
from harness.report.figures import Figure, distinct
from harness.report.gallery import Gallery, gallery
from harness.results.leaderboard import Record, Table


@dataclass(frozen=True)
class Part:
    """A heading with what stands under it; `missing` says why there is nothing."""

    id: str
    title: str
    says: str = ""
    missing: str = ""
    boards: tuple[Board, ...] = ()
    figures: tuple[Figure, ...] = ()
    gallery: Gallery | None = None


@dataclass(frozen=True)
class Section:
    id: str
    dataset: str
    records: tuple[Record, ...]
    parts: tuple[Part, ...]


def section(
    workspace: Workspace,
    records: Sequence[Record],
    rule: str,
    select: str,
    pictures: int,
    notes: Sequence[str] = (),
) -> Section:
    """Everything the page says of one data set.

    pictures: how many the gallery may hold; notes: on where the records come from.
    """
    name = workspace.module.NAME
    plain = boards.tables(name, records, workspace.profile, rule, select)
    tables = [replace(table, notes=(*notes, *table.notes)) for table in plain]
    shown = [*tables, *boards.further(tables, records)]
    parts = [
        _leaderboards(name, shown),
        _groups(name, shown),
        _class_sizes(name, shown, records, workspace),
        _curricula(name, shown, records, workspace),
        _scores(name, workspace),
        _ablations(name, tables[0], records, workspace),
        _gallery(name, workspace, pictures),
    ]
    return Section(name, name, tuple(records), tuple(_labelled(part, name) for part in parts))


def _labelled(part: Part, dataset: str) -> Part:
    """With names of its charts that no other chart of the page has."""
    titles = distinct([f.title for f in part.figures])
    figures = zip(part.figures, titles, strict=True)
    labels = (replace(f, label=f"{dataset}, {part.title}: {title}") for f, title in figures)
    return replace(part, figures=tuple(labels))


def _leaderboards(name: str, shown: Sequence[Table]) -> Part:
    drawn = (boards.board(table, f"{name}-board-{i}") for i, table in enumerate(shown))
    return Part(f"{name}-leaderboards", "Leaderboards", boards=tuple(drawn))


def _groups(name: str, shown: Sequence[Table]) -> Part:
    figures = []
    for i, table in enumerate(shown):
        for k, part in enumerate(table.parts):
            at = f"{name}-groups-{i}-{k}"
            figures += [
                charts.groups(at, table, part),
                charts.plane(f"{at}-plane", table, part),
            ]
    by_rule = any(column.by_rule for table in shown for column in table.paper.columns)
    title = "Many, medium and few" if by_rule else "ID and OOD"
    return Part(f"{name}-groups", title, figures=tuple(f for f in figures if f is not None))


def _class_sizes(
    name: str, shown: Sequence[Table], records: Sequence[Record], workspace: Workspace
) -> Part:
    figures = []
    for i, table in enumerate(shown[:1]):
        for k, part in enumerate(table.parts):
            names = _class_names(workspace, part.block.imbalance)
            at = f"{name}-classes-{i}-{k}"
            figures.append(charts.class_sizes(at, table, part, records, names))
    drawn = tuple(f for f in figures if f is not None)
    missing = "" if drawn else "The records here hold no accuracy by class."
    return Part(f"{name}-classes", "Class sizes", missing=missing, figures=drawn)


def _class_names(workspace: Workspace, imbalance: int | None) -> list[str] | None:
    """Names by label from the index, where it is there."""
    path = workspace.work / "index.parquet"
    if not path.is_file():
        return None
    rows = stages.read(path, "harness index").select("label", "classname").unique().sort("label")
    same = rows["label"].to_list() == list(range(len(rows)))
    return rows["classname"].to_list() if same else None


def _curricula(
    name: str, shown: Sequence[Table], records: Sequence[Record], workspace: Workspace
) -> Part:
    labels = {line.method: line.label for t in shown for p in t.parts for line in p.lines}
    labelled = []
    for record in records:
        ratio = "" if record["imbalance"] is None else f", ratio {record['imbalance']}"
        labelled.append((f"{labels.get(record['method'], record['method'])}{ratio}", record))
    figure, why = traces.curricula(f"{name}-curricula-0", labelled, workspace.runs)
    figures = () if figure is None else (figure,)
    return Part(f"{name}-curricula", "Curricula", missing=why, figures=figures)


def _scores(name: str, workspace: Workspace) -> Part:
    at, title = f"{name}-scores", "CLIPScores"

    def part() -> Part:
        rows = stages.read(workspace.work / "spectrum.parquet", "harness score")
        text = (
            rows,
            "text_score",
            workspace.recipe.threshold,
            "Similarity to the text",
            "CLIPScore",
        )
        image = (rows, "image_score", None, "Similarity to the source", "cosine of embeddings")
        figures = (charts.scores(f"{at}-text", *text), charts.scores(f"{at}-image", *image))
        return Part(at, title, figures=figures)

    return _or_why(part, at, title)


def _or_why(part: Callable[[], Part], at: str, title: str) -> Part:
    """A part, or the reason why it cannot be made."""
    try:
        return part()
    except DataError as error:
        return Part(at, title, missing=f"{error}.")


def _ablations(name: str, table: Table, records: Sequence[Record], workspace: Workspace) -> Part:
    figures: list[Figure] = []
    for which in ablations.ARGUMENTS:
        defaults: tuple[float | None, float | None] = (None, None)
        if which == "threshold":
            recipes = workspace.module.RECIPES
            defaults = (workspace.recipe.threshold, recipes["paper"].threshold)
        figures += ablations.ablations(f"{name}-{which}", table, records, defaults, which)
    lacking = "" if figures else "No two runs here differ in threshold or amount alone."
    at = f"{name}-ablations"
    title = "Threshold and amount"
    return Part(at, title, missing=lacking, figures=tuple(figures))


def _gallery(name: str, workspace: Workspace, pictures: int) -> Part:
    at, title = f"{name}-gallery", "Gallery"

    def part() -> Part:
        shown = gallery(workspace, pictures)
        says = (
            f"{shown.shown:,} of {shown.total:,} synthetic images, made from {shown.sources:,} "
            "hard training pictures. Guidance 0 knows the text alone, guidance 1 is the real "
            f"picture. {shown.note}"
        )
        return Part(at, title, says.strip(), gallery=shown)

    return _or_why(part, at, title)
