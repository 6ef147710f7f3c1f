"""Backends: what reaches a model.

dialects/       wire formats as pure functions, and the table of providers
http.py         asks one access method in its dialect
connections.py  sends requests over sockets: connections, deadlines, errors
prompt_scorer.py  lets a server score stored replies
deadlines.py    the time limits of requests
network.py      proxies and certificate authorities of the environment
server_version.py  reads the version that a self-hosted server reports
redaction.py    removes keys from what a server answers
turn_header.py  a header that tells an emulator which turn a request belongs to
local/          inference engines on this machine: environments, processes, weights
emulator/       a simulated provider, on a socket or on virtual time
bots.py         the games' programmatic players as a backend"""
