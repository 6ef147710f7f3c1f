"""Measures of ourselves, as ratios to a baseline taken in the same run; imported by nothing, not in the wheel."""
