"""Measures how fast an access method is under load. Knows no game, no HTTP and no store but where it is
wired.

loadtest_sweep   wires the room: the sweep's methods, the traffic, rows in the store
dry_run          says what a load test would send
run_facts        the rows that say what was measured
game_traffic     prompts and sessions of a sweep's games

load_profile     what a stage offers, as values
arrivals         the moments of an open loop
lengths          lengths by distribution
prompts          prompts of a file, or of given lengths
trace            recorded traffic
work             single requests, and sessions
traffic          settings of what is sent; the units of work of a stage

ladder           plays the levels of one method, given or searched
stage_player     plays a stage: progress, the server's samples, rows
generator        sends the requests of a stage, by a closed or an open loop
client_cost      the client's CPU time and delay
server_samples   the load that the server reports

steady_window    the part of a stage that has figures
saturation       offered load against achieved load
distributions    means and percentiles
metrics          a stage's rates and latencies, or why it has none
levels           the repeats of a level, with intervals
level_search     chooses levels: the knee, the highest that keeps a goal

run_comparison   two runs level by level
stored_runs      reads runs from stores, to compare them"""
