"""Hands the rows of a store to the audit room. Knows which function computes what; computes nothing itself.

completeness.py  how much of a sweep has ended, method by method
store_audit.py   scores and verdicts of one store
store_weights.py  stored replies as a reference's weights score them
store_drift.py   the stores of different days, compared
store_watch.py   the days of a watch in one store, compared
time_shares.py   what the wall time of an access method was spent on
report_data.py   everything that one report page shows
csv_tables.py    CSV files in place of a store"""
