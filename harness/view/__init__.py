"""Shows a store as a page: live while a sweep runs, and frozen into one file.

Both draw the same values by the same script. The live page is served to this machine only.

call_history   sums of the calls by time, of which each row is read once
bench_values   the load tests of a store as plain values
values         a store's findings as plain values for the script
live_store     follows one store: what has changed, and the verdicts as they stand
pages          the HTML around the values: the live page's and the one file
live_server    serves the live page, its values and its events
guard          decides who may ask: token, host, and what the page may load
assets/        style and script"""
