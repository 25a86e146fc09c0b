"""Parquet, for data frames: numbers and truth values by their kind, lists and objects as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from medr1_pacs.errors import ExportRefused
from medr1_pacs.exports.cells import CellKind, Cells, Table


class ParquetFile:
    """A file of one table, written some rows at a time; a context manager.

    Raises
    ------
    ExportRefused
        The package that writes Parquet is not installed.
    """

    def __init__(self, path: Path, table: Table) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise ExportRefused(
                "Parquet needs pyarrow: `pip install 'medr1-pacs[parquet]'`"
            ) from None
        kinds = {
            CellKind.INTEGER: pyarrow.int64(),
            CellKind.FRACTION: pyarrow.float64(),
            CellKind.TRUTH: pyarrow.bool_(),
        }
        self._table = table
        self._pyarrow = pyarrow
        self._schema = pyarrow.schema(
            [
                (name, kinds.get(kind, pyarrow.string()))
                for name, kind in zip(table.names, table.kinds, strict=True)
            ]
        )
        self._writer = pyarrow.parquet.ParquetWriter(path, self._schema, compression="zstd")

    def __enter__(self) -> ParquetFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._writer.close()

    def write(self, rows: Sequence[Cells]) -> None:
        """Write some rows, as one row group."""
        values = self._table.values(rows)
        self._writer.write_table(self._pyarrow.table(values, schema=self._schema))
