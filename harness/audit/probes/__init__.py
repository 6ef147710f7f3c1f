"""Probes: short questions that show how an access method treats the parameters it is asked with.

asks.py       the questions, and the replies that later questions need
rows.py       the answered rows of one probe; the four answers that a probe can give
counts.py     answers from counts of tokens: usage, limits, context, prompt, chat template, own tokenizer
texts.py      answers from replies: temperature, seed, stop, letters, one model, same words
crowd.py      answers from replies alone and in a crowd
reasoning.py  answers about thoughts: reasoning_effort, thoughts in replies
interpret.py  all findings of all methods
causes.py     causes of a difference, from probes, replies and scores"""
