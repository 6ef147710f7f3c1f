"""Facts about providers, as data: addresses, names of parameters, what they refuse, drop and leave out. Pure.

One row per provider. A sweep that says `provider = "groq"` needs nothing else; a provider without a row is
reached by its base_url and read as OpenAI's reference describes. The facts come from the pages named in the
rows, as of 2026; no commercial provider was tried. Where a row says nothing, the dialect's own reference
holds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from harness.core.plugins import PROVIDERS as ENTRY_POINTS
from harness.core.plugins import WithPlugins
from harness.core.vocabulary import AccessMethod, Sampling

PARAMETERS = (
    "temperature",
    "top_p",
    "top_k",
    "seed",
    "stop",
    "frequency_penalty",
    "presence_penalty",
    "reasoning_effort",
    "logprobs",
)
PENALTIES = ("frequency_penalty", "presence_penalty")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A parameter that a provider does not apply.

    does           "refuses": the request fails; "drops": the parameter has no effect, without a message
    models         the rule holds for served names that match this regular expression; empty: for all
    unless_effort  the rule does not hold with this reasoning_effort
    above          the rule holds for greater values only
    beside         the rule holds only if this other parameter is set too"""

    parameters: tuple[str, ...]
    does: Literal["refuses", "drops"]
    why: str
    models: str = ""
    unless_effort: str | None = None
    above: float | None = None
    beside: str | None = None

    def holds(self, parameter: str, value: object, sampling: Sampling, served_name: str) -> bool:
        return (
            parameter in self.parameters
            and re.search(self.models, served_name) is not None
            and (self.unless_effort is None or sampling.reasoning_effort != self.unless_effort)
            and (self.above is None or (isinstance(value, int | float) and value > self.above))
            and (self.beside is None or getattr(sampling, self.beside) is not None)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One row of the table.

    docs            the page that the row rests on
    base_url        None: each user has an own address
    key_header      "Authorization" carries "Bearer KEY", any other the key alone
    names           parameter -> its name on the wire, where it is not the dialect's; a dot leads into an
                    object
    efforts         reasoning_effort -> the fields that express it, where it is more than a word
    rules           parameters that it refuses or drops
    body            more fields of every request
    constrain       how it enforces a regular expression; None: it cannot
    asks_usage      a stream states its usage only if asked
    ignore_eos      it has a field of this name: replies go on after the model's own end
    router          other providers answer for it; the sweep must name them
    lists_models    GET /models lists all that it serves
    limit_names     its header on limits -> the name that harness/limits/headers.py knows; None: not per
                    minute
    reasoning       fields of a message that contain thoughts
    cached          path of the cached tokens within the usage; a dot leads into an object
    excludes_reasoning  its count of completion tokens does not include thoughts
    account         further words of its errors that concern the account: no credit, an unknown key
    account_statuses    statuses that concern the account, besides 401, 402 and 403
    refused         further words of its errors that mean that the content was refused"""

    docs: str
    base_url: str | None = None
    key_env: str | None = None
    dialect: str = "openai_chat"
    key_header: str = "Authorization"
    names: Mapping[str, str] = field(default_factory=dict)
    efforts: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    body: Mapping[str, object] = field(default_factory=dict)
    constrain: Literal["structured_outputs", "regex", "response_format", "grammar"] | None = None
    asks_usage: bool = True
    ignore_eos: bool = False
    router: bool = False
    lists_models: bool = True
    limit_names: Mapping[str, str | None] = field(default_factory=dict)
    reasoning: tuple[str, ...] = ("reasoning_content", "reasoning")
    cached: str = "prompt_tokens_details.cached_tokens"
    excludes_reasoning: bool = False
    account: tuple[str, ...] = ()
    account_statuses: tuple[int, ...] = ()
    refused: tuple[str, ...] = ()


def _drops(*parameters: str, why: str, models: str = "", unless_effort: str | None = None) -> Rule:
    return Rule(parameters=parameters, does="drops", why=why, models=models, unless_effort=unless_effort)


def _refuses(*parameters: str, why: str, models: str = "", unless_effort: str | None = None) -> Rule:
    return Rule(parameters=parameters, does="refuses", why=why, models=models, unless_effort=unless_effort)


_OPENAI_RULES = (
    _refuses("top_k", why="is not a parameter of its chat completions"),
    _refuses(
        "temperature",
        "top_p",
        "logprobs",
        *PENALTIES,
        models=r"^(o\d|gpt-5)",
        unless_effort="none",
        why="is not for reasoning models",
    ),
    _refuses("stop", models=r"^o\d", why="is not for reasoning models"),
)
_THINKING = 'has no effect while the model thinks; reasoning_effort = "none" stops that'
_NO_FIELD = "is not in its reference"

GENERIC = Provider(docs="https://platform.openai.com/docs/api-reference/chat", constrain="structured_outputs")

PROVIDERS: dict[str, Provider] = {
    "openai-compatible": GENERIC,
    "openai": Provider(
        docs="https://platform.openai.com/docs/api-reference/chat",
        base_url="https://api.openai.com/v1",
        key_env="OPENAI_API_KEY",
        names={"tokens_max": "max_completion_tokens"},
        rules=_OPENAI_RULES,
    ),
    "azure": Provider(
        docs="https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle",
        key_env="AZURE_OPENAI_API_KEY",
        key_header="api-key",
        names={"tokens_max": "max_completion_tokens"},
        rules=_OPENAI_RULES,
        lists_models=False,  # it lists models that could be deployed
    ),
    "openrouter": Provider(
        docs="https://openrouter.ai/docs/api/reference/errors-and-debugging",
        base_url="https://openrouter.ai/api/v1",
        key_env="OPENROUTER_API_KEY",
        names={"reasoning_effort": "reasoning.effort"},
        rules=(
            _drops(
                "temperature",
                "top_p",
                "top_k",
                models=r"claude-(4\.[78]-opus|opus-(4\.[78]|5))",
                why="is ignored for these models",
            ),
        ),
        router=True,
        lists_models=False,  # its list has no suffixes such as :nitro
        account=("weight_exceeds_budget",),
        refused=("moderation", "flagged", "guardrail"),
    ),
    "together": Provider(
        docs="https://docs.together.ai/docs/error-codes",
        base_url="https://api.together.xyz/v1",
        key_env="TOGETHER_API_KEY",
        constrain="response_format",
        asks_usage=False,  # its own SDK has no such field; the last event of a stream has the usage
        lists_models=False,  # its list has no dedicated endpoints
    ),
    "groq": Provider(
        docs="https://console.groq.com/docs/openai",
        base_url="https://api.groq.com/openai/v1",
        key_env="GROQ_API_KEY",
        names={"tokens_max": "max_completion_tokens"},
        rules=(
            _refuses("top_k", why=_NO_FIELD),
            _refuses("logprobs", why="is not supported yet"),
            _drops(*PENALTIES, why="is not yet supported by any of its models"),
        ),
        asks_usage=False,  # was refused once; the last event of a stream has x_groq.usage
        limit_names={  # its limit of requests is per day, that of tokens per minute
            "x-ratelimit-limit-requests": None,
            "x-ratelimit-remaining-requests": None,
            "x-ratelimit-reset-requests": None,
        },
    ),
    "fireworks": Provider(
        docs="https://docs.fireworks.ai/guides/inference-error-codes",
        base_url="https://api.fireworks.ai/inference/v1",
        key_env="FIREWORKS_API_KEY",
        lists_models=False,  # its list is not complete
        limit_names={
            "x-ratelimit-limit-tokens-prompt": "x-ratelimit-limit-input-tokens",
            "x-ratelimit-remaining-tokens-prompt": "x-ratelimit-remaining-input-tokens",
            "x-ratelimit-limit-tokens-generated": "x-ratelimit-limit-output-tokens",
            "x-ratelimit-remaining-tokens-generated": "x-ratelimit-remaining-output-tokens",
        },
        account_statuses=(412,),
    ),
    "deepseek": Provider(
        docs="https://api-docs.deepseek.com/guides/thinking_mode",
        base_url="https://api.deepseek.com",
        key_env="DEEPSEEK_API_KEY",
        rules=(
            _drops(
                "temperature",
                "top_p",
                *PENALTIES,
                models=r"^(?!deepseek-chat$)",
                unless_effort="none",
                why=_THINKING,
            ),
            _refuses("logprobs", models="^deepseek-reasoner$", why="is not for reasoning models"),
            _drops("seed", "top_k", why=_NO_FIELD),
        ),
        efforts={"none": {"thinking": {"type": "disabled"}}},
        cached="prompt_cache_hit_tokens",
    ),
    "mistral": Provider(
        docs="https://docs.mistral.ai/api",
        base_url="https://api.mistral.ai/v1",
        key_env="MISTRAL_API_KEY",
        names={"seed": "random_seed"},
        rules=(_refuses("top_k", "logprobs", why=_NO_FIELD),),
        asks_usage=False,  # the last event of a stream always has it, and unknown fields are refused
        limit_names={
            f"x-ratelimit-{what}-{theirs}-minute": f"x-ratelimit-{what}-{ours}"
            for what in ("limit", "remaining")
            for theirs, ours in (("req", "requests"), ("tokens", "tokens"))
        },
    ),
    "xai": Provider(
        docs="https://docs.x.ai/docs/guides/reasoning",
        base_url="https://api.x.ai/v1",
        key_env="XAI_API_KEY",
        rules=(
            _refuses("stop", *PENALTIES, models=r"grok-(3-mini|4|5|code)", why="is not for reasoning models"),
            _refuses("reasoning_effort", models=r"^grok-4(-\d{4})?$", why="cannot be set for this model"),
            _drops("top_k", why=_NO_FIELD),
        ),
        lists_models=False,  # its list has no aliases
        excludes_reasoning=True,
    ),
    "cohere": Provider(
        docs="https://docs.cohere.com/docs/compatibility-api",
        base_url="https://api.cohere.ai/compatibility/v1",
        key_env="COHERE_API_KEY",
        rules=(
            _drops("top_k", why="is not among the parameters of its compatibility API"),
            Rule(
                parameters=("presence_penalty",),
                does="refuses",
                beside="frequency_penalty",
                why="cannot be combined with frequency_penalty",
            ),
            Rule(parameters=PENALTIES, does="refuses", above=1.0, why="goes up to 1"),
        ),
        lists_models=False,
    ),
    "gemini": Provider(
        docs="https://ai.google.dev/api/generate-content",
        base_url="https://generativelanguage.googleapis.com/v1beta",
        key_env="GEMINI_API_KEY",
        dialect="gemini",
        key_header="x-goog-api-key",
        efforts={"none": {"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}}},
    ),
    "gemini-compat": Provider(
        docs="https://ai.google.dev/gemini-api/docs/openai",
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        key_env="GEMINI_API_KEY",
        rules=(_drops("top_k", "seed", why="is not among the parameters of its compatible endpoint"),),
        lists_models=False,  # its list has names with the prefix models/
    ),
    "anthropic": Provider(
        docs="https://platform.claude.com/docs/en/api/messages",
        base_url="https://api.anthropic.com/v1",
        key_env="ANTHROPIC_API_KEY",
        dialect="anthropic_messages",
        key_header="x-api-key",
        rules=(
            _refuses("seed", "logprobs", *PENALTIES, why="is not a parameter of its messages"),
            _refuses(
                "temperature",
                "top_p",
                "top_k",
                models=r"claude-(opus-4-[78]|opus-5|fable)",
                why="is not supported by these models",
            ),
            Rule(parameters=("temperature",), does="refuses", above=1.0, why="goes up to 1"),
            Rule(
                parameters=("top_p",),
                does="refuses",
                beside="temperature",
                models=r"claude-(opus-4-[1-6]|sonnet-4-[5-9]|haiku-4)",
                why='cannot be combined with temperature; set temperature = "unset"',
            ),
        ),
        lists_models=False,  # its list has no aliases
    ),
    "vllm": Provider(
        docs="https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html",
        base_url="http://127.0.0.1:8000/v1",
        constrain="structured_outputs",
        ignore_eos=True,
    ),
    "llamacpp": Provider(
        docs="https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md",
        base_url="http://127.0.0.1:8080/v1",
        ignore_eos=True,
        constrain="grammar",  # it ignores `regex` and `structured_outputs` with HTTP 200
        lists_models=False,  # it serves its only model under any name
    ),
    "transformers": Provider(
        docs="https://huggingface.co/docs/transformers/serving",
        base_url="http://127.0.0.1:8000/v1",
        rules=(
            _refuses("top_k", why="is an unexpected field to its server"),
            _drops("presence_penalty", "reasoning_effort", why="is read by its server but not used"),
            _drops("frequency_penalty", why="becomes a repetition penalty, which has another meaning"),
        ),
        lists_models=False,  # it loads models on demand
    ),
    "ollama": Provider(
        docs="https://docs.ollama.com/api/openai-compatibility",
        base_url="http://127.0.0.1:11434/v1",
        rules=(
            _drops(
                "top_k", why="is not among the fields of its compatible endpoint; set it in the Modelfile"
            ),
        ),
        lists_models=False,  # names without a tag are served too
    ),
    "lmstudio": Provider(
        docs="https://lmstudio.ai/docs/developer/openai-compat/chat-completions",
        base_url="http://127.0.0.1:1234/v1",
    ),
    "sglang": Provider(
        docs="https://docs.sglang.ai/basic_usage/openai_api_completions.html",
        base_url="http://127.0.0.1:30000/v1",
        constrain="regex",
        ignore_eos=True,
    ),
}


ALL_PROVIDERS = WithPlugins(PROVIDERS, group=ENTRY_POINTS, kind=Provider)


def provider(name: str) -> Provider:
    """Returns the row of this provider, of this table or of a plug-in, or the generic one."""
    return ALL_PROVIDERS.get(name, GENERIC)


def ineffective_parameters(row: Provider, sampling: Sampling, served_name: str) -> Iterator[tuple[str, str]]:
    """Yields each parameter that is set but would be refused or dropped, with a clause that says why."""
    for parameter in PARAMETERS:
        value = getattr(sampling, parameter)
        if value is None or value == ():
            continue
        rule = next((rule for rule in row.rules if rule.holds(parameter, value, sampling, served_name)), None)
        if rule is not None:
            effect = "refused" if rule.does == "refuses" else "dropped without a message"
            yield parameter, f"{rule.why} ({effect}: {row.docs})"


def sampling_fields(method: AccessMethod, names: Mapping[str, str]) -> dict[str, object]:
    """Returns the sampling parameters as fields of a request, without those that the provider refuses or
    drops.

    names   parameter -> its name in the dialect; a parameter without a name is not sent"""
    row, sampling = provider(method.provider), method.sampling
    ineffective = dict(ineffective_parameters(row, sampling, method.served_name))
    body: dict[str, object] = {}
    for parameter in PARAMETERS:
        value = getattr(sampling, parameter)
        name = row.names.get(parameter, names.get(parameter))
        if value is None or value == () or name is None or parameter in ineffective:
            continue
        if parameter == "reasoning_effort" and value in row.efforts:
            merge(body, row.efforts[value])
        else:
            merge(body, nested_at(name, list(value) if isinstance(value, tuple) else value))
    merge(body, row.body)
    return body


def nested_at(path: str, value: object) -> dict[str, object]:
    """Returns nested objects: "a.b" and 1 -> {"a": {"b": 1}}."""
    first, _, rest = path.partition(".")
    return {first: nested_at(rest, value) if rest else value}


def merge(into: dict[str, object], more: Mapping[str, object]) -> None:
    """Adds the fields of `more`, object by object."""
    for name, value in more.items():
        known = into.get(name)
        if isinstance(known, dict) and isinstance(value, Mapping):
            merge(known, value)
        else:
            into[name] = dict(value) if isinstance(value, Mapping) else value


def value_at(path: str, within: object) -> object:
    """Returns the value at "a.b" in nested objects; None if there is none."""
    for name in path.split("."):
        if not isinstance(within, dict):
            return None
        within = within.get(name)
    return within
