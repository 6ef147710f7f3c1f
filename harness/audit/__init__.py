"""Statistics over rows of episodes, replies and probes: is the same model, reached another way, still the
same?

Opens nothing: columns and arrays in, frozen findings out. All randomness has named streams under one seed.

    scores/             scores of episodes: tests, intervals, verdicts, interim analyses, power
    replies/            replies to identical prompts: tests, divergence, drift from day to day
    weights/            stored replies as a reference's weights score them
    probes/             short questions that show whether a method does what it is asked, and why not
    verdicts.py         the three verdicts and Holm's adjustment
    characteristics.py  scores against model size, training tokens and quantisation
    regression.py       least squares over models, with errors by model and by family"""
