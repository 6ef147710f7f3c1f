"""Measures how fast an access method is under load. Knows no game, no HTTP and no store but where it is
wired.

loadtest_sweep   wires the room: the sweep's methods, stages of load, rows in the store
generator        sends the requests of a stage, by a closed or an open loop
metrics          a stage's rates and latencies, or why it has none
prompts          the prompts of a user's file"""
