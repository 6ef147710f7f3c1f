"""A sweep joined to live parts and played. With harness/commands the one room that knows games, backends and every other.

setting    where a sweep is played: its file, its store, who is told        puzzles    games with the instances of a sweep
unchanged  what may not change once a store is begun                        stored     what the store knows before a run
ways       access methods made live: engines, connections, gates, proof     sweep      one run: what is left, then played
check      one look at every method, its rows kept                          playing    what is left, played to its end"""
