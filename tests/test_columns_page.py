"""The page that explains a store's columns names each column of each table, with its type."""

from __future__ import annotations

import re
from pathlib import Path

from harness.store.file import open_to_write

PAGE = Path(__file__).parents[1] / "docs" / "columns.md"
ROW = re.compile(r"\| `(\w+)` \| (\w+)(\?)? \| (.+) \|")


def columns_of_page() -> dict[str, list[tuple[str, str, bool]]]:
    """Returns table -> its columns as the page has them: name, type, whether NULL is possible."""
    tables: dict[str, list[tuple[str, str, bool]]] = {}
    for line in PAGE.read_text("utf-8").splitlines():
        if line.startswith("## "):
            columns = tables[line.removeprefix("## ")] = []
        elif found := ROW.fullmatch(line):
            columns.append((found[1], found[2], found[3] is not None))
    return tables


def test_the_page_has_every_column_with_its_type(tmp_path: Path) -> None:
    with open_to_write(tmp_path / "new.duckdb") as connection:
        rows = connection.execute(
            "SELECT table_name, column_name, data_type, is_nullable FROM duckdb_columns() WHERE NOT internal"
            " AND table_name IN (SELECT table_name FROM duckdb_tables()) ORDER BY column_index"
        ).fetchall()
    tables: dict[str, list[tuple[str, str, bool]]] = {}
    for table, column, kind, nullable in rows:
        tables.setdefault(table, []).append((column, kind, nullable))
    assert columns_of_page() == tables
