"""What all seven games share: the names of their rule sets and the length of a reply."""

from __future__ import annotations

RULE_SETS = ("v1.6b", "v1.6")
"""As published with clembench's v1.6 results; "v1.6b" is its later correction, in which a wordle critic may be invalid three times
in a row and no more. The rule sets differ in nothing else."""

TOKENS_MAX = 100
"""The published runs cut every reply here, and a cut can break a form."""
