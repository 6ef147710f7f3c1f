"""Hands a store's rows, or a plan's, to the audit room. Knows who computes what; computes nothing itself.

one_store   scores, verdicts and times of one store      days      stores of different days side by side
outlook     a sweep that is not played yet               stopping  a sweep that is being played
story       everything that one page tells               tables    CSV files in a store's stead"""
