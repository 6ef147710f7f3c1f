"""How fast an access method is: load that is offered, and what came of it. Knows no game, no wire and no store."""
