"""The commands of `lightbulb`: arguments in; tables, pages and exit codes out. harness/cli.py lists them.

run         run and demo
demo_sweep  the demonstration's sweep file and its next store
plan        init, schema, games, plan and check: everything before a sweep is played
audit       scores, audit, report, drift and characteristics
data        show, sql, import, export and backup
rescore     rescore
watch       watch init and watch run
view        view; the page beside a run
bench       bench
bench_options  the options of bench, as a load test
servers     emulate and engine
quantise    quantise
arguments   arguments that several commands share
terminal    lines on stderr, results on stdout, files, exit codes

A command imports what it works with when it runs, so help and the other commands need not wait for it."""
