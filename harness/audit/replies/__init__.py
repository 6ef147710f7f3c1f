"""The audit of replies to identical prompts: columns of replies in, frozen findings out.

columns.py            rows of replies -> arrays in order of prompt
prompt_pairs.py       pairs of replies to one prompt, for two methods at a time
kernels.py            the similarity of two replies
label_permutation.py  the label permutation test within prompts
divergence.py         the byte at which two replies diverge: hazards, and their ratio
classifier.py         a classifier two-sample test, for replies that hardly repeat
first_token.py        log-probabilities of first tokens, where providers state them
settle.py             how many prompts would settle an open verdict
reply_audit.py        the audit, end to end
sentences.py          the sentences that state a verdict on replies
day_variation.py      one day's replies beside the ordinary variation between days
drift.py              a small panel of asks on several days: has a method changed?
token_days.py         the same for one-token replies: total variation of first tokens"""
