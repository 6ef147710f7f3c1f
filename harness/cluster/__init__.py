"""Plays one run's episodes in several processes, on one machine or more.

messages     what the coordinator and a worker tell each other
worker       a process that plays: calls through leased gates, rows into a store of its own
worker_pool  the coordinator's side: gives episodes to workers, replaces those that end
ray_workers  starts workers with Ray, and carries their messages; the only file that imports it"""
