"""The words every room shares: nouns, seams, rows, errors, time and chance. Standard library and anyio only."""
