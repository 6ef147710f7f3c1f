"""Counts and shows a sweep while it runs.

meters            counts the rows as they are handed to the store: rates, errors, tokens, cost and scores
                  of each access method
event_loop_delay  measures how late the event loop wakes a task
views             takes snapshots of the sweep and presents them as plain lines or as events
live_table        presents the snapshots as a table on a terminal"""
