"""Measures lightbulb itself, as ratios to a baseline of the same run. Not in the wheel; nothing imports
it."""
