"""Numbers about rows: is the same model, reached another way, still the same model?

Opens nothing: columns and arrays in, frozen findings out. All chance comes from named streams under one seed.

    columns -> scores.py      (methods, items, repeats) per game, with gaps
            -> contrasts.py   paired differences against the reference, their endpoints
               flips.py       relabelling within items: one exact p and where the difference is
               intervals.py   the stratified t, its skewness correction, equivalence, shares
               composite.py   clemscore as published and on common support
               variance.py    method, item, chance
               planning.py    what settling the question costs
               replies.py     identical replies to identical prompts
               probes.py      short questions: is a method doing what it is asked?
               treatment.py   what their answers mean
               attribution.py causes, from probes, replies and scores
            -> verdicts.py    three verdicts and their words
            -> judgement.py   `audit`: the questions in their order
            -> findings.py    all answers as one frozen value, `as_json` as plain data"""
