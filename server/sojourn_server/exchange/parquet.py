"""Rows of decisions as Parquet, in batches, so that a long journal needs little memory."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import IO

import pyarrow as pa  # type: ignore[import-untyped]  # ships no annotations
import pyarrow.parquet as pq  # type: ignore[import-untyped]  # as above

from sojourn.v1 import journal_pb2
from sojourn_server.exchange.decision_rows import COLUMNS, decision_rows

BATCH_ROWS = 8_192
ARROW_SCHEMA = pa.schema([(name, pa.type_for_alias(kind)) for name, (kind, _) in COLUMNS.items()])


def write_parquet(records: Iterator[journal_pb2.JournalRecord], file: IO[bytes]) -> int:
    """Writes the decisions of a journal's records; returns how many."""
    count, rows = 0, decision_rows(records)
    with pq.ParquetWriter(file, ARROW_SCHEMA, compression="zstd") as writer:
        while batch := list(islice(rows, BATCH_ROWS)):
            writer.write_table(pa.Table.from_pylist(batch, schema=ARROW_SCHEMA))
            count += len(batch)
    return count
