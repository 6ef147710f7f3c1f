"""Decides whether a reader's query may be executed: one SELECT whose functions only compute.

Knows DuckDB's parser and its catalogue of functions. Keeps: a table function is allowed by name only, since
the catalogue does not tell which of them write, read files or take memory addresses; another function is
refused if the catalogue lists it with side effects, or if it is not a built-in one. Does not promise to stop
file access and settings: the connection's configuration does (file.py)."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import orjson

from harness.core.errors import StoreError
from harness.store.value_size import refuse_uncounted

# They compute from their arguments, or describe the tables of the store and DuckDB itself.
TABLE_FUNCTIONS = frozenset(
    {
        "duckdb_columns", "duckdb_constraints", "duckdb_databases", "duckdb_dependencies",
        "duckdb_functions", "duckdb_indexes", "duckdb_keywords", "duckdb_memory", "duckdb_schemas",
        "duckdb_sequences", "duckdb_settings", "duckdb_tables", "duckdb_types", "duckdb_views",
        "generate_series", "histogram", "histogram_values", "json_each", "json_tree",
        "pg_timezone_names", "pragma_database_size", "pragma_show", "pragma_storage_info",
        "pragma_table_info", "pragma_version", "range", "repeat", "repeat_row", "summary", "unnest",
    }
)  # fmt: skip
# The catalogue lists them with side effects because two calls differ, or because they end the query.
HARMLESS = frozenset({"error", "gen_random_uuid", "random", "uuid", "uuidv4", "uuidv7"})


class QueryRules:
    """The rules for queries to one store, from its catalogue of functions."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        rows = connection.execute("""
            SELECT function_name, bool_and(internal),
                   bool_or(coalesce(has_side_effects, false))
                       OR bool_and(function_type IN ('table', 'table_macro', 'pragma'))
            FROM duckdb_functions() GROUP BY function_name""").fetchall()
        self._macros = {name for name, internal, _ in rows if not internal}
        effects = {name for name, _, more_than_computes in rows if more_than_computes}
        self._refused = effects - HARMLESS - {"unnest"}  # which is also an expression

    def check(self, connection: duckdb.DuckDBPyConnection, query: str, *, counted: bool = False) -> None:
        """Returns if the query may be executed.

        counted  functions that make long values need a written count (value_size.py)
        raises  StoreError with the reason; duckdb.Error if the query cannot be parsed"""
        kinds = [statement.type for statement in connection.extract_statements(query)]
        if kinds != [duckdb.StatementType.SELECT]:
            raise StoreError(
                "a reader's query is one SELECT statement; this one is not (stores are read-only)"
            )
        ((text,),) = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [query]).fetchall()
        tree = orjson.loads(text)
        if tree["error"]:
            raise StoreError(f"the query cannot be checked for side effects: {tree['error_message']}")
        if counted:
            refuse_uncounted(tree)
        for name, is_table_function in _functions(tree):
            if name in self._macros:
                raise StoreError(f"the macro {name} is not available to readers: it is not a part of DuckDB")
            if (name not in TABLE_FUNCTIONS) if is_table_function else (name in self._refused):
                raise StoreError(
                    f"the function {name} is not available to readers: it may do more than compute"
                )


def _functions(tree: object) -> Iterator[tuple[str, bool]]:
    """Yields (name, whether it is a table function) of every function in a serialised query."""
    nodes = [(tree, False)]
    while nodes:
        node, in_from = nodes.pop()
        match node:
            case dict():
                if isinstance(node.get("function_name"), str) and node.get("class") != "WINDOW":
                    yield node["function_name"].lower(), in_from
                from_clause = node.get("type") == "TABLE_FUNCTION"
                nodes += [(value, from_clause and key == "function") for key, value in node.items()]
            case list():
                nodes += [(value, False) for value in node]
