"""Reads a sweep file into a frozen SweepSpec and makes its episode plans. Imports core only.

sweep.py            the classes of a sweep file: every field is a key
load.py             TOML -> SweepSpec, or one error with every problem
contradictions.py   what contradicts what in a sweep that is valid key by key
problems.py         problems of a sweep file as lines, with their places in the file
library_games.py    what contradicts the games of other libraries
json_schema.py      the JSON Schema of a sweep file, for editors
template.py         a commented sweep file for `lightbulb init`
episode_plans.py    SweepSpec -> episode plans, in playing order
audit_plan.py       the audit's decisions, as one text with one hash"""
