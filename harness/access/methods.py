"""Turns what a sweep says of a method into an AccessMethod with every default filled in, by the table of
providers.

Refuses parameters that a provider is known to refuse or to drop, before anything is sent, unless the sweep
says allow_dropped. Reads chat templates; sends nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from backends.dialects import DIALECTS
from backends.dialects.providers import ALL_PROVIDERS, Provider, ineffective_parameters, provider
from harness.access.gates import on_this_machine
from harness.config.problems import Key, Problem, method_place, spec_error, suggest
from harness.config.sweep import MethodPart, SweepSpec
from harness.config.template import NewMethod
from harness.core.errors import SpecError
from harness.core.user_files import MIB, read_bytes
from harness.core.vocabulary import (
    AccessMethod,
    ChatTemplate,
    Prices,
    Prompt,
    ReplyFormat,
    Sampling,
)

if TYPE_CHECKING:
    from backends.local.local_server import LocalServer

TEMPLATE_BYTES_MAX = 64 * MIB  # a tokenizer_config.json with a large vocabulary has some MiB
WITH_LOGPROBS = ("openai_chat", "completions")  # dialects


def resolved(spec: SweepSpec, *, source: Path) -> SweepSpec:
    """Returns the sweep with the addresses, dialects and key variables of its methods' providers filled in.

    raises  SpecError naming every method that its provider would not serve as the sweep means it"""
    if problems := list(provider_problems(spec)):
        raise spec_error(source, problems)
    models = {
        model: dataclasses.replace(
            model_part, methods={name: _filled_in(part) for name, part in model_part.methods.items()}
        )
        for model, model_part in spec.models.items()
    }
    return dataclasses.replace(spec, models=models)


def provider_problems(spec: SweepSpec) -> Iterator[Problem]:
    """Yields why a provider would not serve a method as the sweep means it."""
    for name, (model, part) in spec.methods().items():
        full = _filled_in(part)
        for key, problem in _problems(full, full.served_name or model):
            yield method_place(name, *key), problem


def method_of_provider(name: str) -> NewMethod:
    """Returns a new sweep file's method that has the provider's name.

    raises  SpecError if no provider has this name, or none of one address for all"""
    if (row := ALL_PROVIDERS.get(name)) is None:
        raise SpecError(
            f"--provider {name!r}: is not a provider that lightbulb knows{suggest(name, list(ALL_PROVIDERS))}"
        )
    if row.base_url is None:
        raise SpecError(
            f"--provider {name!r}: each user has a different address there; write --method {name}=https://ADDRESS,"
            f' and provider = "{name}" in the file'
        )
    return NewMethod(name, f"provider:{name}", row.key_env, row.router)


def _filled_in(part: MethodPart) -> MethodPart:
    row = provider(provider_name(part))
    part = dataclasses.replace(part, dialect=part.dialect or row.dialect)
    if not (part.engine is None and part.bots is None and part.emulator is None):
        return part
    if (
        part.base_url is None or row.base_url is None
    ):  # a provider's key is sent to another address only if the sweep names its variable
        part = dataclasses.replace(part, key_env=part.key_env or row.key_env)
    return dataclasses.replace(part, base_url=part.base_url or row.base_url)


def provider_name(part: MethodPart) -> str:
    return (
        "bots"
        if part.bots
        else "emulator"
        if part.emulator
        else part.engine.kind
        if part.engine
        else part.provider
    )


def _problems(part: MethodPart, served_name: str) -> Iterator[tuple[Key, str]]:
    if part.bots is not None:
        return
    name = provider_name(part)
    row = provider(name)
    if part.engine is None and part.emulator is None and part.base_url is None:
        if name in ALL_PROVIDERS:
            yield ("base_url",), f"is missing: {name} gives each user a different address ({row.docs})"
        else:
            yield (
                ("provider",),
                f"is not a known provider{suggest(name, list(ALL_PROVIDERS))}; name one, or give a base_url",
            )
        return
    if part.dialect not in DIALECTS:
        yield ("dialect",), f"no such dialect{suggest(part.dialect or '', list(DIALECTS))}"
    yield from _routing(part, row)
    yield from _templates(part)
    if part.allow_dropped:
        return
    if part.logprobs is not None and part.dialect in DIALECTS and part.dialect not in WITH_LOGPROBS:
        yield (
            ("logprobs",),
            f"log-probabilities are read in the dialects {' and '.join(WITH_LOGPROBS)} only; remove logprobs, or say "
            "allow_dropped = true",
        )
        return
    for parameter, why in ineffective_parameters(row, sampling(part), served_name):
        left_out = 'temperature = "unset"' if parameter == "temperature" else "leave it out"
        yield (parameter,), f"{why}; {left_out}, or set allow_dropped = true"
    if part.constrain and row.constrain is None:
        yield (
            ("constrain",),
            f"{name} cannot enforce a reply format ({row.docs}); leave it out, or set allow_dropped = true",
        )


def _routing(part: MethodPart, row: Provider) -> Iterator[tuple[Key, str]]:
    if row.router and not part.upstreams and not part.allow_fallbacks:
        yield (
            (),
            "a router may send each call to a different upstream; list them in upstreams = [...], or set allow_fallbacks = true",
        )
    if not row.router and (part.upstreams or part.allow_fallbacks):
        yield (
            ("upstreams" if part.upstreams else "allow_fallbacks",),
            "is for routers, and this provider is not a router",
        )


def _templates(part: MethodPart) -> Iterator[tuple[Key, str]]:
    if part.dialect == "completions" and part.chat_template is None and part.engine is None:
        yield (
            (),
            "sends plain text; name a chat_template: a model folder, tokenizer_config.json or a .jinja file",
        )
    if part.dialect != "completions" and part.chat_template is not None:
        yield (
            ("chat_template",),
            'is for dialect = "completions" only; with every other dialect the server applies its own template',
        )


def access_method(
    name: str,
    model: str,
    part: MethodPart,
    server: LocalServer | None,
    address: str,
    *,
    concurrency: int,
    source: Path,
) -> AccessMethod:
    """Returns the method with every default filled in.

    name         "model/method"
    part         what the sweep says of it
    server       its engine's server, if the run started one
    address      the base URL of what answers
    concurrency  calls in flight at most, of its gate
    source       the sweep file: relative paths start beside it, and errors name it
    raises       SpecError if its chat template cannot be read"""
    per_second_max = part.requests_per_second_max
    if per_second_max is None and part.requests_per_minute is not None and not on_this_machine(address):
        per_second_max = (
            2 * part.requests_per_minute / 60
        )  # providers often enforce a minute's quota by the second
    row = provider(provider_name(part))
    dialect = part.dialect or row.dialect
    return AccessMethod(
        name=name,
        model=model,
        provider=provider_name(part),
        dialect=dialect,
        base_url=address,
        served_name=server.served_name if server else part.served_name or model,
        key_env=part.key_env,
        sampling=sampling(part),
        constrain=part.constrain and row.constrain is not None,
        concurrency=concurrency,
        requests_per_second_max=per_second_max,
        stream=part.stream,
        prices=prices(part),
        upstreams=part.upstreams,
        allow_fallbacks=part.allow_fallbacks,
        thinks_aloud=part.thinks_aloud,
        good_ends=part.good_ends,
        lists_models=part.lists_models,
        template=read_template(name, part, server, source) if dialect == "completions" else None,
    )


def sampling(part: MethodPart) -> Sampling:
    return Sampling(**{field.name: getattr(part, field.name) for field in dataclasses.fields(Sampling)})


def prices(part: MethodPart) -> Prices | None:
    if part.price_input_usd_per_mtok is None or part.price_output_usd_per_mtok is None:
        return None
    return Prices(
        input=part.price_input_usd_per_mtok,
        output=part.price_output_usd_per_mtok,
        cached=part.price_cached_usd_per_mtok,
    )


def read_template(name: str, part: MethodPart, server: LocalServer | None, source: Path) -> ChatTemplate:
    """Returns the chat template that the sweep names, or that of the weights that the engine serves.

    server  the engine's server; needed where the sweep names no template
    source  the sweep file: relative paths start beside it, and errors name it
    raises  SpecError if the template cannot be read or is none"""
    from backends.dialects.chat_templates import chat_template

    key = method_place(name, "chat_template")
    try:
        if part.chat_template is not None:
            place = source.parent / Path(part.chat_template).expanduser()
        else:
            assert server is not None, "resolved() refuses a method without engine and chat_template"
            place = Path(str(server.facts["weights_root"]))
        folder = place if place.is_dir() else place.parent
        config, jinja = folder / "tokenizer_config.json", folder / "chat_template.jinja"
        if place.suffix == ".json":
            config, text = place, ""
        else:
            jinja = jinja if place.is_dir() else place
            text = _template_file(jinja).decode() if jinja.exists() or not place.is_dir() else ""
        known = orjson.loads(_template_file(config)) if config.exists() else {}
    except (RuntimeError, UnicodeDecodeError, orjson.JSONDecodeError) as error:
        raise spec_error(source, [(key, f"cannot be read: {error}")]) from error
    except SpecError as error:
        raise spec_error(source, [(key, str(error))]) from error
    try:
        return chat_template(text, known if isinstance(known, dict) else {})
    except SpecError as error:
        raise spec_error(source, [(key, f"{place} {error}")]) from error


def _template_file(path: Path) -> bytes:
    return read_bytes(path, bytes_max=TEMPLATE_BYTES_MAX, remedy="name a model folder or a template")


def method_facts(method: AccessMethod, part: MethodPart, server: LocalServer | None) -> dict[str, Any]:
    """Returns the fields that MethodRecord and BenchRun have in common.

    part     what the sweep says of the method
    server   its engine's server, if this program started one"""
    return {
        "method": method.name,
        "model": method.model,
        "provider": method.provider,
        "dialect": method.dialect,
        "base_url": method.base_url,
        "served_model": method.served_name,
        "sampling_json": orjson.dumps(dataclasses.asdict(method.sampling)).decode(),
        "request_json": request_json(method),
        "engine_json": orjson.dumps(dict(server.facts)).decode() if server else None,
        "quantisation": part.quantisation or (part.engine.quantisation if part.engine else None),
    }


def request_json(method: AccessMethod) -> str | None:
    """Returns what every request of this method says besides its prompt, for the store; None for methods that
    send no requests."""
    if method.dialect not in DIALECTS or not method.base_url:
        return None
    ask = Prompt(messages=(), reply_format=ReplyFormat(regex=""), episode="", item="", seat="", turn=0)
    plain = dataclasses.replace(
        method, constrain=False, template=ChatTemplate(text="") if method.template else None
    )
    body = DIALECTS[method.dialect].request_body(plain, ask)
    kept = {name: value for name, value in body.items() if name not in ("messages", "contents", "prompt")}
    if method.template is not None:
        kept["template"] = dataclasses.asdict(method.template)
    return orjson.dumps(kept).decode()
