"""The words of errors, as data: what providers, gateways and servers say when they refuse a request. In lower
case.

From the pages on errors of the providers in providers.py, from the sources of LiteLLM, vLLM, SGLang,
llama.cpp, LM Studio, Ollama and one-api, and from public bug reports. Does not promise: completeness; the
scheduler closes a method on repeated refusals in any words."""

from __future__ import annotations

import re

CONTENT_REFUSED = (
    "content_filter", "content filter", "content_policy", "content policy", "contentpolicyviolation",
    "content management policy", "responsibleaipolicy", "data_inspection_failed", "datainspectionfailed",
    "guardrail_intervened", "guardrail checks", "guardrail policy", "blocked by guardrail", "blocked by safety",
    "safety filter", "safety system", "usage guidelines", "content_blocked", "moderation policy",
    "moderation endpoint", "moderation_blocked", "considered high risk", "new_sensitive", "敏感内容",
)  # fmt: skip
CONTEXT_EXCEEDED_CODES = re.compile(
    r"context_length_exceeded|contextwindowexceeded|maximum context length|prompt is too long|exceed_context_size"
)
CONTEXT_EXCEEDED = re.compile(
    r"context_length|context length|context window|contextwindow|context size|context limit|context_window|"
    r"exceed_context|context the overflows|maximum context|max(imum)? prompt length|"
    r"(prompt|input|message|request) is too long|prompt too long|input_too_large|"
    r"exceeds the (maximum )?(allowed )?(input|context|prompt|length)|too many (input )?tokens|string_above_max_length|"
    r"exceeds? context size|maximum model length|range of input length|model token limit|tokens_limit_reached|"
    r"input is too large to process|prompt 超长|"
    r"input token count|max_new_tokens` must be|`inputs` must have less|"
    r"tokens to keep .{0,40}(greater|exceed)|reduce the length of the (messages|prompt|input)|"
    r"prompt contains .{0,20}tokens|maximum (input|sequence) length|max_model_len"
)
# Too fast, in words that some providers also have for a prompt that is too long, and under any status.
THROTTLED = re.compile(
    r"throttl|too many requests|\brate.?limit|request_limit_exceeded|\b[rt]pm\b.{0,20}(limit|exceed)|"
    r"before trying again"
)
NO_CREDIT = (  # such words are meant under HTTP 500 too
    "insufficient_quota", "insufficient quota", "insufficient_user_quota", "token quota is not enough",
    "insufficient balance", "insufficient_balance", "balance is insufficient", "balance is too low",
    "balance is not enough", "not enough balance", "insufficient credit", "insufficient_credit",
    "not enough credit", "out of credits", "no credits", "have any credits", "available credits",
    "more credits", "credit balance", "prepayment credits", "insufficient funds", "payment required",
    "payment_required", "billing_hard_limit", "billing_not_active", "billing hard limit", "billing_error",
    "account is not active", "spending limit", "spend limit", "spend_limit", "api usage limits",
    "usage limit reached", "budget has been exceeded", "budget_exceeded", "exceededbudget",
    "exceeded budget", "over budget", "please recharge", "recharge your", "arrearage", "overdue payment",
    "set inference limit", "余额不足", "额度不足", "欠费",
)  # fmt: skip
ACCOUNT_REFUSED = (
    *NO_CREDIT,
    "account is suspended", "account suspended", "account_deactivated", "account has been deactivated",
    "account is disabled", "account has been disabled", "organization has been disabled",
    "key has been disabled", "key is disabled", "key has been revoked", "api key not valid",
    "invalid api key", "invalid_api_key", "api_key_invalid", "incorrect api key", "wrong api key",
    "invalid x-api-key", "invalid api token", "invalid access token", "invalid auth token", "expired token",
    "token expired", "token has expired", "expired_api_key", "api key expired", "key has expired",
    "expired key", "key is expired", "missing api key", "no api key", "api key is missing",
    "api key is invalid", "invalid authentication", "authentication_error", "authenticationerror",
    "auth_error", "authentication error", "authentication failed", "invalid credentials",
    "invalid proxy server token", "no connected db", "unauthorized", "unauthenticated",
    "location is not supported", "country, region, or territory", "unsupported_country",
    "region is not supported", "not available in your country", "not available in your region",
    "organization has been restricted", "organization_restricted", "login fail", "access token invalid", "authfailure",
    "missing authentication token", "无效的令牌", "令牌已过期",
)  # fmt: skip
PLAN_AND_BILLING = "check your plan and billing"  # Google says it of a quota of one minute too
QUOTA_IDS_OF_A_DAY = ("perday",)  # in Google's quota ids; the retryDelay beside them is not that of the day
QUOTA_OF_A_DAY = re.compile(
    r"per[- ]?day|\b[rt]pd\b|(daily|monthly) (\w+ ){0,2}(limit|quota|allocation|allowance)|per[- ]?month|"
    r"/ ?(day|month)\b"
)
MODEL_UNKNOWN = re.compile(
    r"model_not_found|model_not_available|model_not_exist|model_not_supported|model_decommissioned|model_deprecated|"
    r"invalid_model|unknown_model|unsupported_model|invalidmodel|modelnotfound|deploymentnotfound|not_found_error|"
    r"no endpoints found|server is pinned to|unable to access model|model identifier is invalid|model_access_denied|"
    r"no models? (is |are )?(currently )?loaded|with on-demand throughput|no healthy deployments for this model|"
    r"not a valid model|invalid model name|llm provider not provided|模型不存在|"
    r"\b(unknown|no such|unrecognized|invalid|unsupported) model\b(?!\s+(parameter|output|response|input|argument))|"
    r"\b(access|allowed to access|access to)( the)? model\b|"
    r"\bmodel\b[^.;]{0,160}?\b(not found|does not exist|doesn't exist|not exist|is not available for|"
    r"decommissioned|is deprecated|been deprecated|no longer available|(been|was) (retired|removed|shut down))"
)
RATE_LIMITED = ("resource_exhausted",)
TIMED_OUT = ("timeout_error", "deadline_exceeded")
BUSY = (
    "channel error", "too busy", "overloaded", "temporarily unavailable", "service unavailable", "has crashed",
    "model unloaded",
)  # fmt: skip
BAD_REQUEST = ("invalid_request_error", "badrequesterror", "invalid_argument")
# Groq could not parse the model's output.
GENERATION_FAILED = ("tool_use_failed", "json_validate_failed")
# 424: Hugging Face, a model that is too busy; 498: Groq, no capacity; 499: a gateway gave its request up
TRANSIENT_4XX = (409, 421, 424, 425, 498, 499)
