"""The tables that stages leave behind, as Parquet files."""

from __future__ import annotations

import io
from pathlib import Path

import polars as pl

from harness.core.errors import DataError
from harness.core.files import write_atomic


def read(path: Path, maker: str) -> pl.DataFrame:
    """A stage's table; DataError that names the command which makes it when it is not there."""
    try:
        return pl.read_parquet(path)
    except FileNotFoundError:
        raise DataError(f"{path} is not there yet; `{maker}` makes it") from None
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path} cannot be read ({error}); `{maker}` makes it anew") from error


def write(path: Path, table: pl.DataFrame) -> None:
    """Write a stage's table whole or not at all; DataError when it cannot be written."""
    out = io.BytesIO()
    table.write_parquet(out)
    write_atomic(path, out.getbuffer())


def at_imbalance(imbalance: int | None) -> pl.Expr:
    """Which rows of the index or the hard samples are of an imbalance ratio, null being one too."""
    return pl.col("imbalance").eq_missing(pl.lit(imbalance, pl.Int32))
