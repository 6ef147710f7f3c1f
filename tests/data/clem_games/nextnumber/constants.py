"""A module of a name that several games of clembench use."""

TAG = "NEXT:"
