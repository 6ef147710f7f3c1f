"""Tests of loading: a sweep file becomes typed data, or one error that lists every problem."""

from __future__ import annotations

from pathlib import Path

import pytest

from games import GAMES as KNOWN
from harness.config.load import load_sweep, parse_emulation, parse_sweep, read_sweep
from harness.config.sweep import SweepSpec
from harness.core.errors import SpecError
from harness.core.vocabulary import split_method_key

GAMES = ["taboo", "wordle"]
GOOD = """
name = "x"
[games.taboo]
items = 3
[models.m.methods.a]
base_url = "https://api.example/v1"
"""


def parse(text: str) -> SweepSpec:
    return parse_sweep(text, source="s.toml", known_games=GAMES)


def problems(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        parse(text)
    return str(caught.value)


def test_defaults_are_filled_in() -> None:
    """A key that is not in the file has its default."""
    spec = parse(GOOD)
    assert (spec.repeats, spec.seed, spec.audit.margin, spec.retry.tries_max) == (1, 0, 3.0, 6)
    (model, method) = spec.methods()["m/a"]
    assert (model, method.temperature, method.concurrency, method.constrain, method.key_env) == (
        "m",
        0.0,
        None,
        False,
        None,
    )


def test_all_problems_are_reported_at_once() -> None:
    """Each problem has its line, its key and a remedy."""
    text = GOOD.replace("items = 3", "itmes = 3\nitems = 0") + "concurency = 4\n[audit]\nmargin = 'wide'\n"
    told = problems(text).splitlines()
    assert len(told) == 4
    assert 's.toml:4: games.taboo.itmes: unknown key; did you mean "items"?' in told
    assert "s.toml:5: games.taboo.items: input should be greater than or equal to 1, not 0" in told
    assert 's.toml:8: models.m.methods.a.concurency: unknown key; did you mean "concurrency"?' in told
    assert told[-1].startswith("s.toml:10: audit.margin: input should be a valid number")


def test_very_many_problems() -> None:
    """The first 50 in the order of the file are written, with their lines and remedies, and the others are
    counted; of very many words that are known, the first 60 are named."""
    methods = "".join(
        f"[models.m.methods.w{k}]\nbots = {{}}\nkonc{k} = 1\ntemperatur = 0\n" for k in range(300)
    )
    told = problems(GOOD + methods).splitlines()
    assert len(told) == 51
    assert told[0].startswith("s.toml:9: models.m.methods.w0.konc0: unknown key; ")
    assert told[49] == 's.toml:106: models.m.methods.w24.temperatur: unknown key; did you mean "temperature"?'
    assert told[50] == "s.toml: and 550 more problems; mend these first"
    correct = methods.replace("temperatur = 0\n", "").replace("konc", "#")
    (one,) = problems(GOOD + correct + "[audit]\nreference = 'zzz'\n").splitlines()
    assert one.endswith("m/w58 and 241 more; write model/method")


def test_mistakes_of_every_kind_stand_in_the_order_of_the_file() -> None:
    """A wrong key, a wrong value, a contradiction, a name that is not known: each has its line; what only
    follows from another mistake is not reported."""
    text = """name = "x"
repaets = 2
[games.tabu]
[models."org/m.1".methods.a]
base_url = "api.example/v1"
[models."org/m.1".methods.b]
base_ulr = "https://api.example/v1"
[models."org/m.1".methods.c]
concurrency = 0
[models."org/m.1".methods."d/d"]
engine = { weights = "w" }
[[pairs]]
seats = ["org/m.1/a", "org/m.1/c"]
[[pairs]]
seats = ["org/m.1/a", "org/m.1/e"]
[audit]
reference = "org/a"
margin = -1
"""
    found = [line.split(": ", 2) for line in problems(text).splitlines()]
    assert [place for place, _, _ in found] == [f"s.toml:{n}" for n in (2, 3, 5, 7, 8, 9, 10, 11, 15, 17, 18)]
    words = [problem for _, _, problem in found]
    assert words[1].startswith("no such game; did you mean")
    assert words[3].startswith('unknown key; did you mean "base_url"?')
    assert words[4].startswith("does not say where the model is")
    assert words[6].startswith("a method's name must be printable")
    assert words[7] == "is required and missing"
    assert words[8].startswith("'org/m.1/e' is not an access method")


def test_a_table_with_a_text_that_json_cannot_hold_is_one_problem() -> None:
    """A sweep from Python may hold half of a surrogate pair: no key is named, and nothing else is checked."""
    raw = {"name": "s", "games": {"taboo": {}}, "models": {"m": "\ud800"}}
    with pytest.raises(SpecError) as refused:
        read_sweep(raw, source="table", known_games=["taboo"])
    assert len(str(refused.value).splitlines()) == 1


def test_a_sweep_without_its_tables_says_so_once() -> None:
    """Nothing follows from what is missing: no method, no game and no reference is looked for."""
    told = problems('[audit]\nreference = "m/a"\n').splitlines()
    assert sorted(line.split(": ", 1)[1] for line in told) == [
        f"{name}: is required and missing" for name in ("games", "models", "name")
    ]
    assert problems(GOOD.replace("[games.taboo]\nitems = 3", "[games]")) == (
        "s.toml:3: games: is empty; it needs at least one entry"
    )


def test_a_wrong_key_of_any_table_is_named() -> None:
    """Also in the tables that are looked up rarely."""
    wrong = "[budget]\ncallz = 3\n[[pairs]]\nseats = ['m/a', 'm/a']\ngamez = []\n"
    told = problems(GOOD + "budget = { tokenz = 3 }\n" + wrong)
    for words in ('tokenz: unknown key; did you mean "tokens"?', "s.toml:9: budget.callz: unknown key"):
        assert words in told
    assert 's.toml:12: pairs.0.gamez: unknown key; did you mean "games"?' in told


def test_a_models_name_may_hold_slashes() -> None:
    """The method follows the last one: names of hubs need no other name here."""
    spec = parse(GOOD.replace("models.m.", 'models."org/m-1.5".') + '[audit]\nreference = "org/m-1.5/a"\n')
    assert list(spec.methods()) == ["org/m-1.5/a"]
    assert split_method_key("org/m-1.5/a") == ("org/m-1.5", "a")
    assert split_method_key("imported") == ("imported", "")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("games.taboo", "games.tabu", 'no such game; did you mean "taboo"?'),
        ('base_url = "https://api.example/v1"', "", "models.m.methods.a: does not say where the model is"),
        ("https://api.example", "http://api.example", "would send prompts and key unencrypted"),
        ("https://api.example", "https://me:secret@api.example", "contains a password"),
        ("https://api.example/v1", "api.example", "is not a web address"),
        ("models.m.", 'models."a//b".', "without / at its ends or two / in a row"),
        (".methods.a]", '.methods."a/b"]', "without spaces and / + |, which join names"),
        ('name = "x"\n', "", "s.toml: name: is required and missing"),
        ('name = "x"', 'name = "x', "not valid TOML"),
        ("items = 3", "[audit]\nreference = 'm/b'", 'no such access method; did you mean "m/a"?'),
        (
            "items = 3",
            "[[pairs]]\nseats = ['m/a', 'm/c']",
            "'m/c' is not an access method; did you mean \"m/a\"?",
        ),
        (
            "items = 3",
            "[[pairs]]\nseats = ['m/a', 'm/a']",
            "names one method twice; remove this pair",
        ),
        ("items = 3", 'items = "3"', "games.taboo.items: input should be a valid integer, not '3'"),
        ('name = "x"', 'name = "x"\nseed = 99999999999999999999', "seed: "),
        ('name = "x"', 'name = "../x"', "cannot be the name of the store's file"),
        ('name = "x"', 'name = "x"\nrepeats = 1000000000', "repeats: "),
        ('name = "x"', 'name = "x"\nrepeatz = 1', 'repeatz: unknown key; did you mean "repeats"?'),
        ("https://api.example/v1", "http://[::1", "is not a web address"),
        ("methods.a]", 'methods."a b"]', "without spaces"),
        (
            "items = 3",
            "items = 3\n[models.m]\nparameters = inf\n",
            "models.m.parameters: input should be a finite number",
        ),
        (
            "items = 3",
            "items = 3\n[models.m]\nparameters = -1\n",
            "models.m.parameters: input should be greater than 0, not -1",
        ),
        (
            "[models.m.methods.a]",
            "[models.m.methods.a]\nexpect = { tokens_per_s = 1e-6 }",
            "models.m.methods.a.expect.tokens_per_s: input should be greater than or equal to 0.001",
        ),
        (
            "[models.m.methods.a]",
            "[models.m.methods.a]\nrequests_per_second_max = 1e-300",
            "models.m.methods.a.requests_per_second_max: input should be greater than or equal to 0.001",
        ),
        (
            "[models.m.methods.a]",
            "[models.m.methods.b.emulator]\nlatency.queue_max = 99999999999999999999\n[models.m.methods.a]",
            "models.m.methods.b.emulator.latency.queue_max: input should be less than",
        ),
        (
            "[models.m.methods.a]",
            "[models.m.methods.b.emulator]\nfaults.dies_after = 99999999999999999999\n[models.m.methods.a]",
            "models.m.methods.b.emulator.faults.dies_after: input should be less than",
        ),
    ],
)
def test_a_mistake_is_reported_with_its_remedy(old: str, new: str, words: str) -> None:
    """One mistake in an otherwise good file is found and explained."""
    assert old in GOOD
    assert words in problems(GOOD.replace(old, new))


@pytest.mark.parametrize("more", ["deep = " + "[" * 5000 + "]" * 5000, "deep." * 5000 + "x = 1"])
def test_what_is_nested_too_deeply_is_one_sentence(more: str) -> None:
    """Python's parser and copies of its tables have a limit of depth."""
    assert (
        problems(f"{more}\n{GOOD}")
        == "s.toml: lists or tables stand in each other too deeply; no key needs that"
    )
    with pytest.raises(SpecError, match="too deeply"):
        parse_emulation([f"skill={'[' * 5000}{']' * 5000}"])


def test_an_unknown_game_is_reported_together_with_other_mistakes() -> None:
    """One error lists both."""
    told = problems(GOOD.replace("games.taboo", "games.tabu").replace("base_url", "base_ulr"))
    assert 'no such game; did you mean "taboo"?' in told
    assert 'did you mean "base_url"?' in told


def test_a_method_may_have_the_name_of_a_key() -> None:
    """Suggestions depend on the place in the file: a method named bots has a method's keys."""
    told = problems(GOOD.replace("methods.a]", "methods.bots]").replace("base_url", "base_ulr"))
    assert 'models.m.methods.bots.base_ulr: unknown key; did you mean "base_url"?' in told


def test_plain_http_stays_on_this_machine() -> None:
    """http:// is accepted for loopback, and elsewhere only with allow_plain_http."""
    for address in ("http://127.0.0.1:8000/v1", "http://localhost/v1", "http://[::1]:8000/v1"):
        assert parse(GOOD.replace("https://api.example/v1", address))
    assert parse(GOOD.replace("https://api.example/v1", "http://box.lan/v1") + "allow_plain_http = true\n")


def test_an_address_and_an_engine_exclude_each_other() -> None:
    """A method has one place only."""
    assert "keep one of them" in problems(GOOD + 'engine = { kind = "vllm", weights = "w" }\n')


def test_unsupported_engine_settings_are_reported() -> None:
    """llamacpp uses the weights as their file has them."""
    at = 'base_url = "https://api.example/v1"'

    def told(engine: str) -> str:
        return problems(GOOD.replace(at, f'engine = {{ weights = "w", {engine} }}'))

    assert "engine.dtype: is 'float32', but llamacpp uses" in told('kind = "llamacpp", dtype = "float32"')
    hub = GOOD.replace(at, 'engine = { kind = "vllm", weights = "hf:Qwen/Qwen2.5-1.5B-Instruct" }')
    assert 'write "hf:ORGANISATION/NAME@REVISION"' in problems(hub)
    assert "llamacpp cannot serve" in problems(hub.replace('"vllm"', '"llamacpp"'))
    assert parse_sweep(
        hub.replace('Instruct"', 'Instruct@989aa79"'), source="s", known_games=list(KNOWN)
    ).methods()
    assert "may be 'vllm', 'transformers' or 'llamacpp'" in told('kind = "ollama"')


def test_an_unreadable_file_is_reported(tmp_path: Path) -> None:
    """Missing files and files that are not text give a SpecError."""
    with pytest.raises(SpecError, match="cannot be read"):
        load_sweep(tmp_path / "none.toml", known_games=GAMES)
    (tmp_path / "bytes.toml").write_bytes(b"name = '\xff'")
    with pytest.raises(SpecError, match="not UTF-8"):
        load_sweep(tmp_path / "bytes.toml", known_games=GAMES)


@pytest.mark.parametrize(
    "sweep",
    sorted((Path(__file__).parents[3] / "bench" / "sweeps").glob("*.toml")),
    ids=lambda path: path.stem,
)
def test_our_own_sweeps_load(sweep: Path) -> None:
    """Every sweep file in the repository loads."""
    assert load_sweep(sweep, known_games=list(KNOWN)).methods()


def test_an_emulator_may_use_an_engine_of_the_sweep() -> None:
    """`behind` accepts an address or the name of a method with an engine; it refuses a method without one."""
    before = """
name = "s"
[games.taboo]
[models.m.methods.real]
engine = { kind = "vllm", weights = "bundled:smollm2-135m-instruct" }
[models.m.methods.front]
emulator = { behind = "m/BEHIND", quotas = { requests = 300 } }
"""
    spec = parse_sweep(before.replace("BEHIND", "real"), source="s.toml", known_games=["taboo"])
    assert spec.methods()["m/front"][1].emulator is not None
    with pytest.raises(
        SpecError, match=r"m\.methods\.front\.emulator\.behind: 'm/front' is not a web address"
    ):
        parse_sweep(before.replace("BEHIND", "front"), source="s.toml", known_games=["taboo"])


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("https://a.example:99999/v1", "is not a web address (Port out of range 0-65535)"),
        ("https://a.example:x/v1", "is not a web address"),
        ("https://a.example/v1 ", "contains a space or a control character"),
        ("https://a.example/v1#x", "contains a fragment"),
        ("https://a.example//v1", "contains // in its path"),
        ("https://a.example/v1/chat/completions", "ends in /chat/completions, which lightbulb adds itself"),
        ("https://a.example/v1?key=sk-1", "contains a key in its query (key)"),
        ("https://a.example/v1?subscription-key=sk-1", "contains a key in its query (subscription-key)"),
    ],
)
def test_an_address_is_read_as_a_url(address: str, words: str) -> None:
    """An address that cannot be sent, or would put a key into the store, is refused with its line; the key is
    not shown."""
    reported = problems(GOOD.replace("https://api.example/v1", address))
    assert words in reported
    assert "s.toml:6: models.m.methods.a.base_url: " in reported
    assert "sk-1" not in reported


def test_the_query_of_an_address_is_kept() -> None:
    """Azure's classic deployments need one."""
    address = "https://x.openai.azure.com/openai/deployments/d1?api-version=2024-10-21"
    spec = parse(GOOD.replace("https://api.example/v1", address))
    assert address in [part.base_url for _, part in spec.methods().values()]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('headers = { "x y" = "1" }', "is not a header that a sweep can set"),
        ('headers = { "Host" = "a" }', "is not a header that a sweep can set"),
        ('headers = { "x-a" = "ü" }', "has a value that no header can have"),
    ],
)
def test_headers_that_cannot_be_sent_are_refused(line: str, words: str) -> None:
    """Those that the request itself needs, and those that are no headers."""
    assert words in problems(f"{GOOD}{line}\n")


def test_games_of_other_libraries() -> None:
    """Their names need not be known; what their libraries decide cannot be set, and no server can enforce a
    format that they do not state."""
    clem = '[games."clem:taboo"]\ncheckout = "c"\n'
    assert parse(GOOD + clem).games["clem:taboo"].checkout == "c"
    assert parse(GOOD + '[games."textarena:Nim-v0"]\n').games["textarena:Nim-v0"].checkout is None
    assert "games.clem:taboo: has no checkout; add checkout" in problems(GOOD + '[games."clem:taboo"]\n')
    assert "checkout: is for games of clembench" in problems(
        GOOD.replace("items = 3", 'items = 3\ncheckout = "c"')
    )
    assert "rules: is decided by the library of clem:taboo" in problems(GOOD + clem + 'rules = "v1.6"\n')
    limited = '[games."textarena:Nim-v0"]\nturns_max = {}\n'
    assert parse(GOOD + limited.format(9)).games["textarena:Nim-v0"].turns_max == 9
    for number in (0, 10_001):
        assert "turns_max" in problems(GOOD + limited.format(number))
    ours = GOOD.replace("items = 3", "items = 3\nturns_max = 9")
    assert "turns_max: is for games of other libraries" in problems(ours)
    constrained = GOOD + "constrain = true\n" + clem
    assert "constrain: clem:taboo has no reply format" in problems(constrained)
    assert "no such game" in problems(GOOD + '[games."other:taboo"]\n')
