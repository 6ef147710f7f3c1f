"""What a sweep will take, before anything is spent: the engine itself on virtual time, with providers and lengths as far as known.

shapes   how long episodes are, from bots and from stores      fit       how quick a provider was, from a store's calls
stage    the engine over simulated providers                   forecast  several small sweeps -> one answer
answer   the room wired to a sweep and to stores            findings  the answer, as frozen shapes"""
