"""Where things wait: calls, episodes, the many episodes of a sweep. Handed its games, backends and sink as protocols."""
