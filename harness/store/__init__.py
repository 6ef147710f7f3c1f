"""Rows in a DuckDB file: written by one thread, read by anyone while no run holds the file."""
