"""Keeps rows in a DuckDB file: one thread writes, any process reads.

schema.py            tables and views
migration.py         stores of earlier versions
file.py              opens the file to write, to read, to copy
writer.py            writes rows in batches
worker_stores.py     the folder of the stores that workers write beside a store
query_server.py      answers queries while a run holds the file
query_rules.py       decides whether a reader's query may be executed
reader_places.py     divides the query server's threads among its readers
value_size.py        bounds the values of a reader's query
row_encoding.py      rows of any type as lines of JSON
query.py             a query with its result as rows, Arrow table or DataFrame
planned_plays.py     which plays are planned, and which of them have ended, failed or are open
backup.py            copies a store, also a running sweep's
merge.py             the rows of several stores as one store
reply_ends.py        stored replies that a failure or a filter cut
reader.py            rows for scores, audits and transcripts
logprob_queries.py   log-probabilities of tokens
watch_queries.py     one-token replies of a watch
rescore_queries.py   replies to score, and their scores
view_queries.py      the same for the live page: sums by time, results on common items, lists of episodes
report_queries.py    counts and transcripts for pages
bench_queries.py     rows of load tests, and calls to play again
plan_queries.py      episode lengths and server times for plans
resuming.py          the stored state from which a run continues
time_breakdown.py    the view time_by_method
export.py            tables as Parquet or CSV files"""
