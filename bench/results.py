"""Plays the experiment about model sizes, and makes its page from the stores.

`python -m bench.results play --folder DIR` says how long the rest takes, then plays the two sweeps into
stores in the folder; the same command continues a run that was stopped. `python -m bench.results page
--folder DIR` writes docs/results/: the page, its figures, and the rows as Parquet of at most 5 MB. `make
results` does both."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import orjson

from bench.results_page import MethodFacts, Played, published_points, write_page
from harness.analysis.store_audit import ModelAudit, store_audit, store_scores
from harness.commands.arguments import load
from harness.config.sweep import SweepSpec
from harness.core.errors import AuditError, StoreError
from harness.store.file import open_to_read, translated

ROOT = Path(__file__).parents[1]
SWEEPS = ("light_bulb", "light_bulb_access")
PUBLISHED = ROOT / "tests" / "harness" / "audit" / "data"
PAGE = ROOT / "docs" / "results"
ROWS_BYTES_MAX = 5_000_000

# Seconds of an item on two quiet cores, by model and engine: referencegame, imagegame, taboo, wordle.
# Measured with llama.cpp and vLLM; those of transformers are 5 s for each ask.
ITEM_S = {
    ("smollm2-135m", "llamacpp"): (1.0, 8.0, 1.0, 2.0),
    ("qwen2.5-coder-0.5b", "llamacpp"): (2.5, 19.0, 2.4, 7.7),
    ("qwen2.5-coder-0.5b", "vllm"): (0.7, 3.0, 0.7, 1.5),
    ("qwen2.5-coder-0.5b", "transformers"): (5.0, 60.0, 15.0, 30.0),
    ("qwen2.5-coder-1.5b", "llamacpp"): (4.6, 24.0, 6.3, 13.0),
    ("qwen2.5-coder-1.5b", "vllm"): (1.4, 5.5, 1.4, 3.1),
}
GAMES = ("referencegame", "imagegame", "taboo", "wordle")
FLOAT32 = 2.0  # so many times the seconds of bfloat16

# Tables of the rows beside the page. Folders are cut from the engines' facts: they name a machine's disk.
TABLES = {
    "sweeps": "FROM sweeps",
    "audit_plans": "FROM audit_plans",
    "models": "FROM models",
    "methods": "SELECT * REPLACE (regexp_replace(engine_json, '/[^ \"]*/', '', 'g') AS engine_json) FROM methods",
    "episodes": "FROM episodes",
    "turns": "FROM turns",
    "calls": "FROM calls",
    "rescores": "SELECT * REPLACE (regexp_replace(engine_json, '/[^ \"]*/', '', 'g') AS engine_json) FROM rescores",
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("verb", choices=("play", "page"))
    parser.add_argument("--folder", type=Path, default=Path("light-bulb-results"), help="of the stores")
    parser.add_argument("--output", type=Path, default=PAGE, help="of the page")
    chosen = parser.parse_args()
    if chosen.verb == "play":
        sys.exit(play(chosen.folder))
    try:
        page(chosen.folder, chosen.output)
    except StoreError as error:
        sys.exit(str(error))


# --- play -------------------------------------------------------------------------------------------------


def play(folder: Path) -> int:
    """Plays what the stores lack; returns the first exit code of a run that is not 0."""
    folder.mkdir(parents=True, exist_ok=True)
    specs = {name: load(ROOT / "bench" / "sweeps" / f"{name}.toml") for name in SWEEPS}
    hours = sum(seconds_left(spec, folder / f"{name}.duckdb") for name, spec in specs.items()) / 3600
    print(
        f"about {hours:.1f} hours of play are left on two quiet cores, besides downloads (1.7 GB) and starts of engines; "
        f"it takes up to 15 GB of memory and 16 GB of disk. Ctrl-C stops; the same command continues. Stores: {folder}",
        flush=True,
    )
    for name in SWEEPS:
        sweep, store = ROOT / "bench" / "sweeps" / f"{name}.toml", folder / f"{name}.duckdb"
        code = subprocess.run(
            (sys.executable, "-m", "harness", "run", str(sweep), "--store", str(store), "--engines", "1"),
            check=False,
        ).returncode
        if code:
            return code
    return 0


def seconds_left(spec: SweepSpec, store: Path) -> float:
    """Returns about how long the episodes take that the store lacks."""
    ended = ended_episodes(store)
    left_s = 0.0
    for name, (model, part) in spec.methods().items():
        assert part.engine is not None, "every method of the experiment has an engine"
        seconds = dict(zip(GAMES, ITEM_S[model, part.engine.kind], strict=True))
        factor = FLOAT32 if part.engine.kind == "vllm" and part.engine.dtype == "float32" else 1.0
        for game, chosen in spec.games.items():
            planned = (chosen.items or 0) * spec.repeats * len(spec.arms(name))
            left_s += factor * seconds[game] * max(0, planned - ended.get((name, game), 0))
    return left_s


def ended_episodes(store: Path) -> dict[tuple[str, str], int]:
    """Returns how many episodes of each method and game have ended; nothing where there is no store."""
    if not store.exists():
        return {}
    with open_to_read(store) as connection:
        rows = connection.execute(
            "SELECT method, game, count(*) FROM last_episodes WHERE status = 'finished' GROUP BY ALL"
        ).fetchall()
    return {(method, game): count for method, game, count in rows}


# --- page -------------------------------------------------------------------------------------------------


def page(folder: Path, output: Path) -> None:
    """Writes the page of the stores in the folder."""
    stores = [path for name in SWEEPS if ended_episodes(path := folder / f"{name}.duckdb")]
    if not stores:
        sys.exit(
            f"{folder} has no store of the experiment in which an episode has ended; `make results` plays it."
        )
    output.mkdir(parents=True, exist_ok=True)
    sizes: dict[str, int] = {}
    for store in stores:
        sizes |= write_rows(store, output / "rows" / store.stem)
    if sum(sizes.values()) > ROWS_BYTES_MAX:
        sys.exit(f"The rows have {sum(sizes.values()):,} bytes, more than {ROWS_BYTES_MAX:,}.")
    found = [played_of(store) for store in stores]
    points = list(
        published_points(PUBLISHED / "published_scores.csv", PUBLISHED / "model_facts.csv", found[0].games)
    )
    written = write_page(
        output, found, points, sizes_kb={name: -(-size // 1000) for name, size in sizes.items()}
    )
    print(f"{written}; rows of {sum(sizes.values()) / 1e6:.2f} MB", file=sys.stderr)


def write_rows(store: Path, folder: Path) -> dict[str, int]:
    """Writes the tables as Parquet; returns the size of each file in bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {}
    with translated(store), duckdb.connect(str(store), read_only=True) as connection:
        for name, query in TABLES.items():
            target = folder / f"{name}.parquet"
            connection.execute(
                f"COPY ({query}) TO '{target}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 19)"
            )
            sizes[f"rows/{store.stem}/{target.name}"] = target.stat().st_size
    return sizes


def played_of(store: Path) -> Played:
    """Returns the findings of one store."""
    with open_to_read(store) as connection:
        ((name, version, spec),) = connection.execute(
            "SELECT name, version, spec_json FROM sweeps ORDER BY run_id DESC LIMIT 1"
        ).fetchall()
        facts = tuple(method_facts(connection.execute(FACTS).fetchall(), orjson.loads(spec)))
    return Played(
        name=name,
        scores=store_scores(store),
        audits=tuple(audits_of(store)),
        facts=facts,
        games=tuple(orjson.loads(spec)["games"]),
        version=version,
    )


def audits_of(store: Path) -> Iterator[ModelAudit]:
    """Yields what can be audited; nothing where no method has an ended block beside its reference."""
    try:
        yield from store_audit(store, reference=None, margin=None)
    except AuditError as error:
        print(f"{store.name}: {error}", file=sys.stderr)


FACTS = """
SELECT method, last(engine_json ORDER BY run_id), last(quantisation ORDER BY run_id), last(bits ORDER BY run_id),
       (SELECT count(*) FROM calls WHERE calls.method = methods.method AND error_class IS NULL),
       (SELECT min(sent_at) FROM calls WHERE calls.method = methods.method),
       (SELECT max(sent_at + latency_s) FROM calls WHERE calls.method = methods.method)
FROM methods GROUP BY method"""


def method_facts(
    rows: list[tuple[object, ...]], spec: dict[str, dict[str, dict[str, object]]]
) -> Iterator[MethodFacts]:
    """Yields every method of the sweep, in its order; what is not played has no engine and no calls."""
    known = {str(row[0]): row[1:] for row in rows}
    for model, part in spec["models"].items():
        methods = part["methods"]
        assert isinstance(methods, dict)
        for name in methods:
            method = f"{model}/{name}"
            engine_json, quantisation, bits, calls, first, last = known.get(method, (None,) * 6)
            engine = orjson.loads(str(engine_json)) if engine_json else {}
            yield MethodFacts(
                method=method,
                model=model,
                parameters_billions=float(str(part["parameters"])) / 1e9 if part["parameters"] else None,
                engine=f"{engine['engine']} {engine['engine_version']}" if engine else None,
                dtype=engine.get("dtype"),
                quantisation=str(quantisation) if quantisation else None,
                bits=float(str(bits)) if bits else None,
                calls=int(str(calls or 0)),
                first=float(str(first)) if first else None,
                last=float(str(last)) if last else None,
            )


if __name__ == "__main__":
    main()
