"""Keeps our requests within a provider's limits. All files but gate.py, leases.py and leased_gate.py are
arithmetic.

gate             admits calls: the quotas, the window, the breaker and the queue of one provider quota
admission        a turn in the queue, a place in the window, the end of its call, and a gate's counts
leases           lets several processes share one gate: the coordinator's side, and the messages
leased_gate      a gate of such a process
window           how many calls may be in flight
failure_monitor  whether failures are more frequent than usual
breaker          whether nobody is served, and how long to pause between probes
congestion       joins window, breaker and learned quota: what a failed call says, and each change as an event
token_bucket     a quota a minute, and what the provider reports of it
learned_quota    a quota that no one states, learned from refusals
headers          reads the rate limit headers of answers
estimates        what a call will cost
refused_in_flight   which calls in flight took no place at the provider, because they were refused
queue_delay      whether a server's queue is standing or passing
waits            what the turns at a gate wait for"""
