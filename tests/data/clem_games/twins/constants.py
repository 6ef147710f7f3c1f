"""A module of a name that several games of clembench use."""

SIDES = 6
