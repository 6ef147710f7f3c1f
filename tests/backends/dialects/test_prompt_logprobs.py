"""The answers of a server that scores a prompt, in the form that vLLM sends."""

from __future__ import annotations

import json

import pytest

from backends.dialects.prompt_logprobs import FLOOR, read_scores, read_token_ids
from backends.dialects.responses import HttpResponse
from harness.core.vocabulary import ScoredToken


def answer(body: object, status: int = 200) -> HttpResponse:
    return HttpResponse(status=status, headers={}, body=json.dumps(body).encode())


def entry(logprob: float, rank: int, text: str = "t") -> dict[str, object]:
    return {"logprob": logprob, "rank": rank, "decoded_token": text}


def test_token_ids_are_read() -> None:
    """An answer without them, or an error, gives none."""
    assert read_token_ids(answer({"count": 2, "max_model_len": 9, "tokens": [4, 5]})) == [4, 5]
    assert read_token_ids(answer({"count": 2})) is None
    assert read_token_ids(answer({"tokens": [4]}, status=404)) is None


def test_scores_begin_with_the_reply() -> None:
    """A token that is none of the most likely ones is listed all the same, and is not counted among them."""
    listed = [
        None,
        {"7": entry(-0.1, 1)},
        {"8": entry(-0.2, 1, " yes")},
        {"9": entry(-4.0, 31, " no"), "8": entry(-0.3, 1)},
        {"5": entry(-1.2, 2, "!"), "8": entry(-0.5, 1)},
    ]
    body = {"choices": [{"prompt_logprobs": listed}]}
    assert read_scores(answer(body), [6, 7, 8, 9, 5], start=2) == (
        ScoredToken(" yes", -0.2, 1, (-0.2,)),
        ScoredToken(" no", -4.0, 31, (-0.3,)),
        ScoredToken("!", -1.2, 2, (-0.5, -1.2)),
    )


def test_an_answer_without_scores_has_none() -> None:
    """A server that ignores the field, or scores other tokens, has not scored."""
    assert read_scores(answer({"choices": [{"text": "x"}]}), [1, 2], start=1) is None
    assert read_scores(answer({"choices": [{"prompt_logprobs": [None]}]}), [1, 2], start=1) is None
    wrong = {"choices": [{"prompt_logprobs": [None, {"3": entry(-1, 1)}]}]}
    assert read_scores(answer(wrong), [1, 2], start=1) is None


@pytest.mark.parametrize(
    "listed",
    [
        {"2": entry(float("nan"), 1)},
        {"2": entry(float("inf"), 1)},
        {"2": entry(1000.0, 1)},
        {"2": entry(-1.0, 0)},
        {"2": entry(-1.0, -1)},
        {"2": entry(-1.0, 2), "3": entry(float("nan"), 1)},
        {"2": entry(-1.0, 2), "3": {"rank": 1}},
        {"2": entry(float("-inf"), 1)},
    ],
)
def test_impossible_scores_are_none(listed: dict[str, object]) -> None:
    """No token has a probability that is not a number or above 1, or a place before the first; the most
    likely one is not impossible. Such scores would look like the reference's own."""
    body = {"choices": [{"prompt_logprobs": [None, listed]}]}
    assert read_scores(answer(body), [1, 2], start=1) is None


def test_rounding_above_0_is_0() -> None:
    """A server that computes in 16 bits may report a probability just above 1."""
    body = {"choices": [{"prompt_logprobs": [None, {"2": entry(1e-5, 1)}]}]}
    assert read_scores(answer(body), [1, 2], start=1) == (ScoredToken("t", 0.0, 1, (0.0,)),)


def test_minus_infinity_is_the_floor() -> None:
    """JSON of Python writes it as a word."""
    body = b'{"choices": [{"prompt_logprobs": [null, {"2": {"logprob": -Infinity, "rank": 9}}]}]}'
    found = read_scores(HttpResponse(status=200, headers={}, body=body), [1, 2], start=1)
    assert found is not None
    assert found[0].logprob == FLOOR
