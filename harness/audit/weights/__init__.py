"""The audit of weights: stored replies as a reference model scores them, frozen findings out.

token_measures.py  what one scored token shows: its margin, or its place in the distribution that was sampled
item_tests.py      permutation tests and bootstraps over items
weight_audit.py    the audit, end to end, with its sentences"""
