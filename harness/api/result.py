"""What was measured: tables, differences and a page, from the records of a request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.errors import DataError, UsageError
from harness.pipeline.request import Request

if TYPE_CHECKING:
    import polars as pl

    from harness.pipeline.matching import Matched
    from harness.results.comparison import Difference
    from harness.results.leaderboard import Line, Table
    from harness.results.store import Results
    from harness.results.versus import Compared


@dataclass(frozen=True)
class Result:
    """The runs of a request, read from its records when they are first needed.

    Numbers are fractions (0.01 is a point). In a notebook it draws itself as its table.
    """

    request: Request

    @cached_property
    def results(self) -> Results:
        """Every record of the data set and profile, other methods' and other parameters' too."""
        from harness.results import store

        workspace, request = self.request.workspace, self.request
        return store.read(workspace.profile, request.dataset, workspace.home, request.origin)

    @cached_property
    def matched(self) -> Matched:
        """The same, by whether the present parameters ask for these runs."""
        from harness.pipeline.matching import match

        return match(self.request.workspace, self.results.records)

    @property
    def records(self) -> list[Mapping[str, Any]]:
        """Every record made with the present parameters, other methods' too."""
        return list(self.matched.current)

    @property
    def notes(self) -> tuple[str, ...]:
        """Whose results these are, and which of them are not shown."""
        from harness.results import store

        return store.notes(self.results, self.matched)

    @cached_property
    def leaderboard(self) -> Table:
        """Our rows beside the published ones, as `harness table` prints them."""
        from harness.results import leaderboard

        request = self.request
        if request.paper is None:
            raise UsageError(f"no table was asked for; harness.table({request.dataset!r}) has one")
        planned = None
        if request.budget:
            from harness.api.plans import budgets

            planned = budgets(request)
        return leaderboard.table(
            request.paper, self.records, request.profile, request.rule, request.select, self.notes,
            planned,
        )  # fmt: skip

    def table(self) -> pl.DataFrame:
        """One row per method (and imbalance ratio): means over seeds beside published numbers.

        Columns imbalance, method, seeds; and of each column of the table the mean, its sd (over
        seeds, n - 1; null for one seed) and the published number. Null: not run, or not published.
        """
        import polars as pl

        rows = [self._row(imbalance, line) for imbalance, line in self._lines()]
        return pl.DataFrame(rows, infer_schema_length=None)

    def runs(self) -> pl.DataFrame:
        """One row per run: imbalance, method, seed, and the numbers of the table's columns."""
        import polars as pl

        from harness.results.leaderboard import number_at

        request, rows = self.request, []
        for record in self._records():
            if request.select in record["selection"]:
                row = {name: record[name] for name in ("imbalance", "method", "seed")}
                paths = self._paths().items()
                row |= {name: number_at(record, path, request.select) for name, path in paths}
                rows.append(row)
        return pl.DataFrame(rows, infer_schema_length=None)

    def difference(self, row: str, other: str) -> pl.DataFrame:
        """`row` minus `other`, paired over the seeds that both have and over test images.

        One row per imbalance ratio and column of the table: difference, low and high (95 %
        interval), p, p_corrected (Holm, over these rows), seeds, images (tested); and locations,
        where those of the images are known: interval and p then resample these, and
        low_by_image and high_by_image resample images. UsageError for an unknown method,
        DataError for one without records.
        """
        import polars as pl

        from harness.results import comparison

        names = self._canonical(row), self._canonical(other)
        cells = [(i, column) for i in self._imbalances() for column in self._paths()]
        differences = [
            comparison.difference(
                self._of(names[0], i),
                self._of(names[1], i),
                self._paths()[column],
                self.request.select,
                self._of_backbone(),
            )
            for i, column in cells
        ]
        rows = []
        for (imbalance, column), d in zip(cells, comparison.corrected(differences), strict=True):
            if d is not None:
                interval = {"difference": d.value, "low": d.low, "high": d.high}
                luck = {"p": d.p, "p_corrected": d.corrected, "seeds": len(d.seeds)}
                where = {"imbalance": imbalance, "column": column}
                rows.append(where | interval | luck | {"images": d.images} | _by_image(d))
        return pl.DataFrame(rows, infer_schema_length=None)

    def comparisons(self) -> list[Compared]:
        """The first row that was named against each other one; none unless two were named."""
        from harness.results.versus import versus

        request = self.request
        if not request.rows_named or len(request.rows) < 2:
            return []
        imbalances, select = request.imbalances, request.select
        return versus(self._of_backbone(), request.rows, self._paths(), imbalances, select)

    def report(self, out: str | Path | None = None, pictures: int | None = None) -> Path:
        """Write the page with charts and pictures; returns where (default: in the workspace).

        pictures: synthetic images in its galleries together; default: as `report.make` has it.
        """
        from harness import report

        request, share = self.request, {} if pictures is None else {"pictures": pictures}
        page = report.make([request.workspace], request.rule, request.select, **share)
        out = request.workspace.work / "report.html" if out is None else Path(out)
        report.write(out, page)
        return out

    def _repr_html_(self) -> str:
        from harness.api.drawing import result_html

        return result_html(self)

    def _lines(self) -> Iterator[tuple[int | None, Line]]:
        """The leaderboard's lines; of the rows and imbalance ratios named, where some were."""
        request = self.request
        for part in self.leaderboard.parts:
            if request.imbalances and part.block.imbalance not in request.imbalances:
                continue
            for line in part.lines:
                if not request.rows_named or line.method in request.rows:
                    yield part.block.imbalance, line

    def _row(self, imbalance: int | None, line: Line) -> dict[str, Any]:
        row: dict[str, Any] = {"imbalance": imbalance, "method": line.method}
        row["seeds"] = max(cell.n for cell in line.measured.values())
        for name, cell in line.measured.items():
            number = line.printed[name].number
            row |= {name: cell.mean, f"{name} sd": cell.sd}
            row[f"{name} published"] = None if number is None else number.value / 100
        return row

    def _paths(self) -> dict[str, str]:
        """Where a record keeps the numbers of the table's columns; of every run the overall one."""
        paper, rule = self.request.paper, self.request.rule
        if paper is None or paper.kind != "runs":
            return {"Overall": "overall"}
        return {column.name: column.path.format(rule=rule) for column in paper.columns}

    def _imbalances(self) -> tuple[int | None, ...]:
        return self.request.imbalances or self.request.workspace.imbalances()

    def _of_backbone(self) -> list[Mapping[str, Any]]:
        backbone = self.request.workspace.recipe.backbone
        if not self.request.rows and self.request.paper is not None:  # a table says its own
            backbone = self.request.paper.backbone or backbone
        return [r for r in self.records if r["backbone"] == backbone]

    def _records(self) -> list[Mapping[str, Any]]:
        """Those of the rows, imbalance ratios and seeds of the request, in this order."""
        request = self.request
        rows = request.rows or tuple(dict.fromkeys(line.method for _, line in self._lines()))
        ratios = self._imbalances()
        chosen = [
            record
            for record in self._of_backbone()
            if record["method"] in rows and record["imbalance"] in ratios
            if not request.seeds or record["seed"] in request.seeds
        ]
        return sorted(chosen, key=lambda record: _position(record, rows, ratios))

    def _of(self, method: str, imbalance: int | None) -> list[Mapping[str, Any]]:
        records = self._of_backbone()
        chosen = [r for r in records if (r["method"], r["imbalance"]) == (method, imbalance)]
        if not chosen:
            ratio = "" if imbalance is None else f" at imbalance {imbalance}"
            raise DataError(f"no records of {method}{ratio}; nothing to compare")
        return chosen

    def _canonical(self, text: str) -> str:
        from harness.methods.compose import compose

        return compose(text, self.request.dataset, self.request.profile).expression


def _by_image(d: Difference) -> dict[str, Any]:
    """Of a difference whose interval is by location."""
    if d.by_image is None:
        return {}
    low, high = d.by_image.low, d.by_image.high
    return {"locations": d.locations, "low_by_image": low, "high_by_image": high}


def _position(
    record: Mapping[str, Any], rows: Sequence[str], ratios: Sequence[int | None]
) -> tuple[int, int, int]:
    """What records are sorted by."""
    return ratios.index(record["imbalance"]), rows.index(record["method"]), record["seed"]
