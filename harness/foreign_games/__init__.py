"""Games of other libraries: clembench's through clemcore, and TextArena's. Unlike games/, this room runs
processes.

catalog.py            a game of another library as a value
clembench_games.py    reads the games of a clembench checkout
textarena_games.py    the environments of the installed release, from textarena.json
libraries.py          the environments that the libraries are installed into
host.py               one process that plays games, and the requests to it
episodes.py           episodes as the scheduler plays them: requests, and replay after the death of a process
child.py              the program of that process
clem_child.py         clemcore within that process
textarena_child.py    TextArena within that process"""
