"""lightbulb: plays conversational games with language models and audits the ways to reach them.

    core/        shared words: nouns, seams, rows, errors, time, chance
    spec/        a sweep file becomes typed data, and that becomes episode plans
    limits/      gates: how not to overrun a provider
    engine/      where things wait: calls, episodes, the many episodes of a sweep, the one way to stop
    store/       rows in a DuckDB file
    audit/       numbers about rows; opens nothing
    report/      findings become tables and pages
    transfer/    published results brought into a store
    simulation   the same engine on virtual time
    analysis     hands a store's rows to the audit
    story        gathers what one page tells of a store
    compose      wires a sweep to live parts
    cli          the command

Data flows one way: sweep file, plans, scheduler, [game step, call through its gate], rows, DuckDB, audit, report."""
