"""Makes what a sweep says of its access methods definite, and connects to them.

context         where a verb works and who is told: file, store, environment, notices
game_sets       the games of a sweep with the instances and rules that its file chooses
methods         an access method with every default filled in, by the table of providers
keys            keys from the environment or a .env file
gates           which methods share a gate, and its limits
budgets         who pays from which budget, and who stops with whom
connect         live access methods: engines started, gates made, routes connected, servers asked
engine_servers  model servers on this machine: those a sweep starts, and those that run already
engine_turns    lanes in turns, where their engines do not fit on this machine together
server_load     the load that these servers report, on its way to their gates"""
