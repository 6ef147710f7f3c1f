"""Counts and shows a sweep while it runs.

meters            counts the rows as they are handed to the store: rates, errors, tokens, cost and scores
                  of each access method
event_loop_delay  measures how late the event loop wakes a task
life_table        estimates how long episodes are while many are open
turns_left        follows the open episodes; the turns that are left
time_left         from turns and the pace of gates to seconds, with an interval
end_estimate      reads gates and meters for time_left; names slow calls
snapshot          the figures of a moment
words             a snapshot in words
views             takes snapshots of the sweep; presents them as plain lines or as events
notebook_bar      presents the snapshots as a bar in a notebook
live_table        presents the snapshots as a table on a terminal"""
