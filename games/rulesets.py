"""The names of the rule sets that all seven games share, and the longest reply."""

from __future__ import annotations

RULE_SETS = ("v1.6b", "v1.6")
"""Both are published with clembench's v1.6 results. "v1.6b" is the later correction: a wordle critic may be
invalid three times in a row and no more. The two differ in nothing else."""

TOKENS_MAX = 100
"""The published runs cut every reply at this number of tokens. A cut can break the format of a reply."""
