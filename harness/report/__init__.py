"""Presents findings to a person: terminal output and HTML pages. No arithmetic, no store.

plain.py            verdicts in plain words: the first screen of an audit
completeness.py     how much of a sweep has ended
audit_tables.py     scores and audits for a terminal
page.py             renders a result as one HTML page
figures.py          findings as SVG figures
characteristics.py  size and training against score, for a terminal
characteristics_chart.py  the same as a figure; characteristics_page.py as one HTML page
first_tokens.py     the sentence about log-probabilities
drift.py            drift day by day, for a terminal
plan.py             a forecast for a terminal; plan_chart.py draws it, power.py prints the power of a design
check.py            findings of `check` for a terminal
loadtest.py         a load test for a terminal
loadtest_csv.py     its summary as CSV
loadtest_comparison.py  two load tests side by side
run_end.py          the table that ends a run
times.py            what an access method's time went to
games.py            games and instances for a terminal
transcript.py       one episode for a terminal
weights_table.py    what a reference's weights say
table.py, text.py   tables; hostile text made harmless
templates/          the pages' HTML and style"""
