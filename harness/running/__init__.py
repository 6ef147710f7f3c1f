"""Runs a sweep over its store. `run_sweep` is the verb; `execute` wires the live parts.

run_sweep       opens the store, prepares, executes, and imports what plays while the store is read
prepare         the sweep and its store -> RunPlan, which says who plays what; refuses what cannot be played
resume          what the store holds of the sweep: ended episodes, unfinished ones, what was spent
locked_keys     keys of the sweep file that may not change once a store is begun
execute         RunPlan -> RunEnd: makes access methods live and plays the lanes
opening_rows    the rows that a run writes before its first call
sessions        the wait between two sessions, and the sum of their ends
early_stopping  interim analyses of a sweep that may stop early
workers         starts the processes that play beside this one, and takes their stores in
merge_stores    joins the stores of one sweep that was played in parts"""
