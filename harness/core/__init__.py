"""The words that every room shares. Imports the standard library, anyio and annotated_types only.

vocabulary.py     frozen values: messages, asks, outcomes, access methods, prompts, completions, episode plans
protocols.py      the interfaces between rooms: Clock, Backend, RecordSink, Bot, Game
steps.py          a game in progress, as the scheduler plays it
records.py        rows: one class is one table of the store
bench_records.py  the rows of load tests
plain_data.py     dataclasses as plain data, for JSON
finish_reasons.py the table of finish reasons: good, filtered, failed
durations.py      reads the durations in which servers say how long to wait
errors.py         the tree of errors; the class says who must act
user_files.py     reads whole files that a user names, each up to a limit of its size
emulation.py      the settings of the emulated provider
history.py        hashes of the messages that a seat saw
addresses.py      loopback addresses, and causes of failed connections
reply_problems.py signs in replies that a method is set up wrongly
clock.py          real time, and the time of an event loop
startup.py        ends the program at once if it is interrupted while it starts
event_loop.py     runs a coroutine on the event loop of real time
short_texts.py    cuts names and lines that are too long; durations as 3:12
seeds.py          named random streams
plugins.py        games and providers of other installed packages"""
