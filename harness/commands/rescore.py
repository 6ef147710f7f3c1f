"""The command rescore: a reference's weights score the stored replies of all access methods of its model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from harness.commands.arguments import AsJson, StoreFile
from harness.commands.terminal import notify, print_result

Tokens = Annotated[
    int | None,
    typer.Option(
        help="Score only some items, drawn at random and the same for all methods: so many that each method"
        " has this number of reply tokens. Default: all items.",
        min=1,
    ),
]


def rescore(
    store: StoreFile,
    reference: Annotated[
        str,
        typer.Option(
            "--with",
            metavar="MODEL/METHOD",
            help="The access method of the store whose weights score the replies; vLLM must serve it.",
        ),
    ],
    base_url: Annotated[
        str | None,
        typer.Option(
            help="The address of a vLLM server with these weights; default: the one in the sweep, or an engine"
            " that is started."
        ),
    ] = None,
    chat_template: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The chat template of these weights: a model folder, tokenizer_config.json or a .jinja file;"
            " default: that of the engine's weights.",
        ),
    ] = None,
    tokens: Tokens = None,
    as_json: AsJson = False,
) -> None:
    """Were these replies written by the weights of the reference? The server of the reference computes the
    log-probabilities of each stored reply; no other provider is called. They go into the store, and `audit`
    makes a third verdict of them. The same command again scores only new replies.

    Example: lightbulb rescore mine.duckdb --with llama/here"""
    from harness.access.context import RunContext
    from harness.analysis.store_weights import store_weights
    from harness.core.event_loop import run_async
    from harness.report.weights_table import print_weights
    from harness.rescoring.rescore_store import ServerPlace, rescore_store

    context = RunContext(
        source=store.parent / f"{store.name} (its sweep)", store=store, environ=os.environ, notify=notify
    )
    place = ServerPlace(
        base_url=base_url, chat_template=str(chat_template.absolute()) if chat_template is not None else None
    )
    try:
        end = run_async(lambda: rescore_store(context, reference, place, tokens_min=tokens))
    except KeyboardInterrupt:
        notify(f"interrupted: the scores until now are in {store}; the same command scores the other replies")
        raise
    notify(
        f"{end.scored:,} replies scored"
        + (f"; {end.too_long:,} are too long for the server's context" if end.too_long else "")
    )
    print_result(store_weights(store, reference), print_weights, as_json=as_json)
