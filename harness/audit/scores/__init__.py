"""The audit of scores: columns of episodes in, one frozen Audit out.

arrays.py             columns -> arrays of (methods, items, repeats) for each game, with gaps
contrasts.py          paired differences from the reference, item by item
sign_flips.py         the sign-flip test: one exact joint p, and adjusted p-values for each game
intervals.py          stratified t, skewness correction, equivalence tests, intervals of shares
clemscore.py          clemscore as published and on common support
variance.py           variance between methods, between items, and by chance; agreement of repeats
pairs.py              every two methods in every game, exploratory
sample_size.py        what would settle an open verdict
power.py              what an audit will be able to show, before anything is played
detection.py          which differences four audits in five find, by simulated audits
session_tests.py      differences and equivalence from one session of plays to the next
evidence.py           all tests of all methods at once
comparison.py         one method compared with the reference
missing_data.py       the guard against missing plays
unfinished.py         levels and bounds of the audit of an unfinished sweep
set_aside.py          planned methods that cannot be compared
score_audit.py        the audit, end to end
interim.py            interim analyses: spending of alpha, sequential monitor
interim_state.py      which interim analyses are due while a sweep is played
findings.py           the shapes of what an audit finds
verdict_sentences.py  the sentences that state a verdict"""
