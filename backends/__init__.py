"""Ways to reach a model.

dialects/   wire formats as pure functions, and the table of providers
http.py     a dialect over a socket; deadlines.py has its time limits
local/      inference engines on this machine: their environments, processes and weights
emulator/   a provider of our own, on a socket or on virtual time
bots.py     the games' own programmatic players as a provider"""
