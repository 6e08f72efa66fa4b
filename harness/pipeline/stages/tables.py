"""The tables that stages leave behind, as Parquet files."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from harness.core import parquet
from harness.core.errors import DataError


def read(path: Path, maker: str) -> pl.DataFrame:
    """A stage's table; DataError that names the command which makes it.

    Where it is not there, and (Damaged) where it is not what was written.
    """
    try:
        return parquet.read(path, f"`{maker}` makes it again")
    except FileNotFoundError:
        raise DataError(f"{path} is not there yet; `{maker}` makes it") from None


def write(path: Path, table: pl.DataFrame) -> None:
    """Write a stage's table whole or not at all; DataError when it cannot be written."""
    parquet.write(path, table)


def at_imbalance(imbalance: int | None) -> pl.Expr:
    """Which rows of the index or the hard samples are of an imbalance ratio, null being one too."""
    return pl.col("imbalance").eq_missing(pl.lit(imbalance, pl.Int32))
