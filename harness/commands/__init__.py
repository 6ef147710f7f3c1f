"""The commands of `lightbulb`, by family: arguments in, tables, pages and exit codes out. harness/cli.py lists them.

play   a sweep, the demonstration               ahead    before a sweep is played: its file, what it will take, who is there
judge  scores, verdicts, pages                  rows     a store's transcripts, queries, import, export
servers  the emulator, engines, their speed     arguments, terminal   what the families share

What a command works with is imported when it works: its help, and other commands, need not wait for it."""
