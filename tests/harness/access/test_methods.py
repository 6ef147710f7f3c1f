"""A method with its provider's defaults, and what is refused at the door."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from backends.dialects.providers import PROVIDERS
from backends.local.local_server import LocalServer
from harness.access.methods import access_method, method_of_provider, prices, request_json, resolved
from harness.config.load import parse_sweep
from harness.config.sweep import MethodPart
from harness.config.template import NewMethod
from harness.core.errors import SpecError
from harness.core.vocabulary import AccessMethod, Prices, Sampling

if TYPE_CHECKING:
    from anyio.abc import Process

HEAD = 'name = "x"\n[games.taboo]\n[models.m.methods.a]\n'
TEMPLATE = (
    "{{ bos_token }}{% for one in messages %}[{{ one.role }}]{{ one.content }}{% endfor %}{{ eos_token }}"
)


def part(text: str, source: Path = Path("s.toml")) -> MethodPart:
    spec = parse_sweep(HEAD + text, source="s.toml", known_games=["taboo"])
    return resolved(spec, source=source).methods()["m/a"][1]


def problems(tmp_path: Path, text: str) -> str:
    source = tmp_path / "s.toml"
    source.write_text(HEAD + text)
    with pytest.raises(SpecError) as caught:
        part(text, source)
    return str(caught.value).replace(str(source), "s.toml")


def made(text: str, source: Path = Path("s.toml")) -> AccessMethod:
    one = part(text, source)
    return access_method(
        "m/a", "m", one, None, one.base_url or "", source=source, concurrency=one.concurrency or 8
    )


@pytest.mark.parametrize("name", sorted(PROVIDERS.keys() - {"openai-compatible", "azure", "openrouter"}))
def test_a_providers_name_is_enough(name: str) -> None:
    """Address, dialect and key variable come from its row."""
    row = PROVIDERS[name]
    one = part(f'provider = "{name}"\ntemperature = "unset"\n')
    assert (one.base_url, one.dialect, one.key_env) == (row.base_url, row.dialect, row.key_env)
    assert one.base_url is not None
    assert one.base_url.startswith(("https://", "http://127.0.0.1:"))


def test_a_provider_of_init_becomes_a_method_if_it_has_one_address() -> None:
    """With the variable of its key. An unknown name, and a provider with many addresses, are refused."""
    assert method_of_provider("groq") == NewMethod("groq", "provider:groq", "GROQ_API_KEY", router=False)
    with pytest.raises(SpecError, match="'grok': is not a provider that lightbulb knows"):
        method_of_provider("grok")
    with pytest.raises(SpecError, match="'azure': each user has a different address there"):
        method_of_provider("azure")


def test_a_misspelt_dialect_gets_a_suggestion(tmp_path: Path) -> None:
    text = problems(tmp_path, 'base_url = "https://a.example"\ndialect = "openai_chatt"\n')
    assert 'no such dialect; did you mean "openai_chat"' in text


def test_a_key_goes_to_its_provider_and_nowhere_else_unasked() -> None:
    """Under another address the sweep must name the variable itself."""
    assert part('provider = "openai"\nbase_url = "https://proxy.example/v1"\n').key_env is None
    assert (
        part('provider = "openai"\nbase_url = "https://proxy.example/v1"\nkey_env = "MINE"\n').key_env
        == "MINE"
    )
    assert (
        part('provider = "azure"\nbase_url = "https://me.openai.azure.com/openai/v1"\n').key_env
        == "AZURE_OPENAI_API_KEY"
    )


def test_a_name_of_ones_own_needs_an_address(tmp_path: Path) -> None:
    """And is then read as OpenAI's reference has it."""
    assert part('provider = "ours"\nbase_url = "https://ours.example/v1"\n').dialect == "openai_chat"
    assert 's.toml:4: models.m.methods.a.provider: is not a known provider; did you mean "groq"?' in problems(
        tmp_path, 'provider = "grok"\n'
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('provider = "azure"\n', "base_url: is missing: azure gives each user a different address"),
        (
            'base_url = "https://a.example"\ndialect = "soap"\n',
            "s.toml:5: models.m.methods.a.dialect: no such dialect; known",
        ),
        (
            'provider = "openrouter"\n',
            "a: a router may send each call to a different upstream; list them in upstreams",
        ),
        ('provider = "groq"\nupstreams = ["x"]\n', "upstreams: is for routers"),
        (
            'provider = "groq"\ntop_k = 5\n',
            "s.toml:5: models.m.methods.a.top_k: is not in its reference (refused",
        ),
        (
            'provider = "groq"\nfrequency_penalty = 1.0\n',
            "is not yet supported by any of its models (dropped without a message",
        ),
        (
            'provider = "openai"\nserved_name = "o3"\n',
            "temperature: is not for reasoning models (refused: https://platform.openai.com",
        ),
        ('provider = "openai"\nserved_name = "o3"\n', 'temperature = "unset", or set allow_dropped = true'),
        ('provider = "openai"\nserved_name = "o3"\nstop = ["x"]\n', "stop: is not for reasoning models"),
        ('provider = "anthropic"\nseed = 7\n', "seed: is not a parameter of its messages"),
        ('provider = "anthropic"\ntemperature = 1.5\n', "temperature: goes up to 1"),
        (
            'provider = "anthropic"\nserved_name = "claude-sonnet-4-5"\ntop_p = 0.9\n',
            "top_p: cannot be combined with temperature",
        ),
        (
            'provider = "anthropic"\nserved_name = "claude-opus-5-5"\n',
            "temperature: is not supported by these models",
        ),
        (
            'provider = "deepseek"\nserved_name = "deepseek-v4-flash"\n',
            "temperature: has no effect while the model thinks",
        ),
        ('provider = "xai"\nserved_name = "grok-4"\nstop = ["x"]\n', "stop: is not for reasoning models"),
        (
            'provider = "cohere"\nfrequency_penalty = 0.5\npresence_penalty = 0.5\n',
            "penalty: cannot be combined with frequency_penalty",
        ),
        ('provider = "groq"\nconstrain = true\n', "constrain: groq cannot enforce a reply format"),
        (
            'base_url = "https://a.example"\ndialect = "completions"\n',
            "a: sends plain text; name a chat_template",
        ),
        (
            'base_url = "https://a.example"\nchat_template = "t"\n',
            'chat_template: is for dialect = "completions"',
        ),
    ],
)
def test_what_would_not_be_served_as_meant_is_refused(tmp_path: Path, text: str, words: str) -> None:
    """Before anything is sent, with its place, the page that says so, and what would do."""
    assert words in problems(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        'provider = "openai"\nserved_name = "o3"\ntemperature = "unset"\n',
        'provider = "openai"\nserved_name = "gpt-5.4"\nreasoning_effort = "none"\n',
        'provider = "deepseek"\nserved_name = "deepseek-v4-flash"\nreasoning_effort = "none"\n',
        'provider = "deepseek"\nserved_name = "deepseek-chat"\n',
        'provider = "anthropic"\nserved_name = "claude-sonnet-4-5"\ntop_p = 0.9\ntemperature = "unset"\n',
        'provider = "cohere"\nfrequency_penalty = 0.5\n',
        'provider = "openrouter"\nupstreams = ["deepinfra"]\n',
        'provider = "openrouter"\nallow_fallbacks = true\n',
    ],
)
def test_rules_hold_where_they_hold_only(text: str) -> None:
    """For these models, with this effort, beside that parameter."""
    assert part(text)


def test_allow_dropped_leaves_out_what_would_not_be_heeded() -> None:
    """The store says both: what was asked and what is sent."""
    one = made('provider = "groq"\ntop_k = 5\nseed = 7\nconstrain = true\nallow_dropped = true\n')
    assert one.sampling == Sampling(top_k=5, seed=7)
    assert not one.constrain
    assert json.loads(request_json(one) or "") == {
        "model": "m",
        "max_completion_tokens": 100,
        "temperature": 0.0,
        "seed": 7,
    }


def test_what_is_sent_is_recorded_without_any_prompt() -> None:
    """With the provider's names, the routing, and the form's place left open."""
    one = made(
        'provider = "openrouter"\nupstreams = ["deepinfra/fp8"]\nstream = true\ntokens_max = 2000\nstop = ["\\n"]\ntemperature = "unset"\n'
    )
    assert json.loads(request_json(one) or "") == {
        "model": "m",
        "max_tokens": 2000,
        "stop": ["\n"],
        "stream": True,
        "stream_options": {"include_usage": True},
        "provider": {"order": ["deepinfra/fp8"], "allow_fallbacks": False, "require_parameters": True},
    }


@pytest.mark.parametrize(
    "given", ["folder", "folder/tokenizer_config.json", "folder/chat_template.jinja", "only"]
)
def test_a_template_is_found_where_the_sweep_says(tmp_path: Path, given: str) -> None:
    """A model folder with either file, or one of the files; special tokens come from the folder."""
    for name in ("folder", "only"):
        (tmp_path / name).mkdir()
    config = {
        "bos_token": {"content": "<s>"},
        "eos_token": "</s>",
        "chat_template": [{"name": "default", "template": TEMPLATE}],
    }
    (tmp_path / "folder" / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "only" / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "folder" / "chat_template.jinja").write_text(TEMPLATE)
    one = made(
        f'base_url = "https://a.example"\ndialect = "completions"\nchat_template = "{given}"\n',
        tmp_path / "s.toml",
    )
    assert one.template is not None
    assert (one.template.text, one.template.beginning, one.template.end) == (TEMPLATE, "<s>", "</s>")
    assert json.loads(request_json(one) or "")["template"]["text"] == TEMPLATE


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "t.jinja: cannot be read (No such file or directory); name a model folder or a template"),
        ("{% for %}", "t.jinja is not a valid chat template"),
        ("", "has no chat template"),
    ],
)
def test_a_template_that_is_none_is_told(tmp_path: Path, content: str | None, words: str) -> None:
    """Missing, broken, or empty."""
    source = tmp_path / "s.toml"
    text = 'base_url = "https://a.example"\ndialect = "completions"\nchat_template = "t.jinja"\n'
    source.write_text(HEAD + text)
    if content is not None:
        (tmp_path / "t.jinja").write_text(content)
    with pytest.raises(SpecError, match=r"s\.toml:6: models\.m\.methods\.a\.chat_template:") as caught:
        made(text, source)
    assert words in str(caught.value)


def test_an_engine_or_a_bot_gets_no_address_and_no_key_variable() -> None:
    """A method that we serve ourselves takes only its dialect from the table."""
    one = part('engine = { kind = "vllm", weights = "w" }\n')
    assert (one.base_url, one.key_env, one.dialect) == (None, None, "openai_chat")
    assert part("bots = {}\n").bots is not None


def test_the_rate_on_the_wire_is_twice_the_minutes() -> None:
    """A quota a minute gives twice its share a second, but not on this machine; a stated rate holds."""
    far, near = 'base_url = "https://a.example"\n', 'base_url = "http://127.0.0.1:9"\n'
    assert made(far + "requests_per_minute = 90\n").requests_per_second_max == 3.0
    assert made(near + "requests_per_minute = 90\n").requests_per_second_max is None
    assert made(far).requests_per_second_max is None
    stated = "requests_per_minute = 90\nrequests_per_second_max = 7\n"
    assert made(far + stated).requests_per_second_max == made(near + stated).requests_per_second_max == 7


def test_prices_need_both_sides() -> None:
    """A method has prices if those of input and output are known; that of cached input may be missing."""
    half = MethodPart(price_input_usd_per_mtok=1.0)
    assert (
        prices(half)
        is prices(replace(half, price_input_usd_per_mtok=None, price_output_usd_per_mtok=1.0))
        is None
    )
    assert prices(replace(half, price_output_usd_per_mtok=2.0)) == Prices(input=1.0, output=2.0, cached=None)


def test_a_method_without_a_dialect_or_an_address_sends_no_requests() -> None:
    """Bots, and a server without an address, have no text that every request says."""
    method = made('base_url = "https://a.example"\n')
    assert request_json(method) is not None
    assert request_json(replace(method, base_url="")) is None
    assert request_json(replace(method, dialect="bots")) is None


def test_the_template_of_an_engine_is_that_of_its_weights(tmp_path: Path) -> None:
    """The sweep names none here; the model is served under the engine's name."""
    (tmp_path / "chat_template.jinja").write_text(TEMPLATE)
    server = LocalServer(
        port=9,
        base_url="http://127.0.0.1:9/v1",
        served_name="weights",
        load_path=None,
        seqs_max=1,
        facts={"weights_root": str(tmp_path)},
        log=tmp_path / "log",
        process=cast("Process", None),  # it is not asked
    )
    one = part('engine = { kind = "vllm", weights = "w" }\ndialect = "completions"\n')
    method = access_method("m/a", "m", one, server, server.base_url, source=tmp_path / "s", concurrency=8)
    assert method.served_name == "weights"
    assert method.template is not None
    assert method.template.text == TEMPLATE
