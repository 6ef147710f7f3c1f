"""Plays the episodes of a sweep: all waiting happens here. Games, backends and the sink are handed in as
protocols.

scheduler   plays many episodes at once, each lane as its gates need them
episode     plays one game from its first ask to its outcome, after a replay of the turns that the store holds
call        makes one call: through its gate, to its backend, and perhaps again
refusals    evidence that every call of a method is refused
spending    keeps a sweep within its budget, and stops all methods at the same place
shutdown    plays a sweep until it is done or interrupted
watchdog    names calls and gates that are stuck"""
