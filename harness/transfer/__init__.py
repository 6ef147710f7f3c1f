"""Imports other people's results into a store, and exports a store's rows.

published.py              values of published results: pairs, places, outcomes
clembench_results.py      opens episode folders
clembench_tables.py       opens raw.csv and results.csv
clembench_transcripts.py  reads the requests of an episode folder
rebuilt_transcripts.py    rebuilds prompts that were recorded in another form
rows.py                   rows of a store from published results
into_store.py             the import
out_of_store.py           the export: tables, clembench folders, a folder for the Hugging Face hub
clembench_export.py       writes clembench's episode folders
files.py                  reads JSON and text with one error for each failure"""
