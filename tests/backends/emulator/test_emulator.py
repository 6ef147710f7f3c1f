"""The emulator: quotas, faults, defects and repeatability, over real sockets where sockets matter."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TypeVar
from urllib.parse import urlsplit

import anyio
import pytest

from backends.bots import own_instance
from backends.connections import open_connection_pool
from backends.deadlines import Deadlines
from backends.dialects import DIALECTS
from backends.dialects.sse import events
from backends.emulator.exchange import Request, Response
from backends.emulator.provider import EmulatedProvider
from backends.emulator.quota import FixedWindows, QuotaLaw, RefilledBucket, SlidingWindow
from backends.emulator.server import Emulator, serving
from backends.http import HttpBackend
from games import GAMES
from games.bots import may_append_words
from games.playthrough import play_by_bots, replay
from harness.core.clock import RealClock
from harness.core.emulation import FAULTS, Defects, Emulation, Fault, Faults, Latency, Quotas
from harness.core.errors import (
    CallError,
    ConnectFailed,
    Garbled,
    ModelUnknown,
    RateLimited,
    TimedOut,
    Unavailable,
)
from harness.core.seeds import stream
from harness.core.vocabulary import Completion, EpisodePlan, Prompt, Sampling
from tests.world import method

T = TypeVar("T")
CHAT = "/v1/chat/completions"
TABOO = EpisodePlan(instance=GAMES["taboo"].instances()[0], rules="v1.6b", seating=("m/a", "m/a"))


def on_sockets(scenario: Callable[[], Awaitable[T]]) -> T:
    return anyio.run(scenario)


async def replies(
    emulator: Emulator,
    prompts: list[Prompt],
    *,
    sampling: Sampling | None = None,
    silence_s: float = 5.0,
    provider: str = "emulator",
) -> list[Completion | CallError]:
    """Returns what our own client gets for these prompts, one after the other."""
    way = replace(method(), base_url=emulator.base_url, provider=provider, sampling=sampling or Sampling())
    met: list[Completion | CallError] = []
    async with open_connection_pool(
        requests_per_second_max=None, deadlines=Deadlines(first_byte_s=silence_s)
    ) as wire:
        backend = HttpBackend(way, DIALECTS["openai_chat"], wire, key=None, clock=RealClock())
        for prompt in prompts:
            try:
                met.append(await backend.complete(prompt))
            except CallError as error:
                met.append(error)
    return met


def clue(repeat: int = 0) -> Prompt:
    """Returns a describer's first ask, in one of many plays of one item."""
    plan = replace(TABOO, repeat=repeat)
    ask = next(GAMES["taboo"].play(plan.instance, plan.rules))
    return Prompt(
        messages=ask.messages,
        reply_format=ask.reply_format,
        episode=plan.key,
        item=plan.item,
        seat=ask.seat,
        turn=0,
    )


def provider(emulation: Emulation) -> EmulatedProvider:
    return EmulatedProvider(emulation, find_instance=own_instance, key=None, now_s=0.0)


def asked(
    at: EmulatedProvider,
    text: str = "Tell me something.",
    *,
    now_s: float = 0.0,
    path: str = CHAT,
    **fields: object,
) -> Response:
    body = {"model": "m", "messages": [{"role": "user", "content": text}], "max_tokens": 60, **fields}
    response = at.respond(
        Request(b"POST", path, {}, json.dumps(body).encode()), now_s, 1_700_000_000.0 + now_s
    )
    assert isinstance(response, Response)
    return response


def told(response: Response) -> Mapping[str, object]:
    found = json.loads(b"".join(response.pieces))
    assert isinstance(found, dict)
    return found


def text_of(response: Response) -> str:
    return str(told(response)["choices"][0]["message"]["content"])  # type: ignore[index]


# --- bots -----------------------------------------------------------------------------------------------


def test_bots_answer_over_the_socket() -> None:
    """A bot answers a clue's ask with a clue and its token counts; without the turn header no bot answers."""

    async def scenario() -> None:
        async with serving(Emulation()) as emulator:
            (clued,) = await replies(emulator, [clue()])
            (talked,) = await replies(emulator, [clue()], provider="somebody")
            assert isinstance(clued, Completion)
            assert isinstance(talked, Completion)
            assert clued.text.startswith("CLUE: ")
            assert clued.prompt_tokens is not None
            assert clued.prompt_tokens > 100
            assert not talked.text.startswith("CLUE")

    on_sockets(scenario)


@pytest.mark.parametrize("dialect", ["openai_chat", "anthropic_messages", "gemini"])
@pytest.mark.parametrize("stream", [False, True])
def test_our_client_is_understood_in_its_dialects(dialect: str, stream: bool) -> None:
    """All dialects return the same clue with the same counts, whole or streamed."""

    async def scenario() -> Completion:
        async with serving(Emulation()) as emulator:
            way = replace(
                method(), base_url=emulator.base_url, provider="emulator", dialect=dialect, stream=stream
            )
            async with open_connection_pool(requests_per_second_max=None, deadlines=Deadlines()) as wire:
                return await HttpBackend(way, DIALECTS[dialect], wire, key=None, clock=RealClock()).complete(
                    clue()
                )

    met = on_sockets(scenario)
    assert met.text.startswith("CLUE: ")
    assert met.completion_tokens == -(-len(met.text) // 4)
    assert met.prompt_tokens is not None
    assert (met.pace is not None) == stream


def test_words_after_a_bots_reply_change_no_game() -> None:
    """Filler words after a bot's reply change no game's outcome where words may follow, nor white space
    elsewhere."""
    for game in GAMES.values():
        for instance in game.instances()[::7]:
            played = play_by_bots(game, instance, "v1.6b", skill=0.7, chance=stream(1, instance.content_hash))
            mannered = (
                reply + (" and the few were not" if may_append_words(reply) else "\n\n").rstrip()
                for reply in played.replies
            )
            again = replay(game.play(instance, "v1.6b"), mannered)
            assert again.outcome is not None
            assert played.outcome is not None
            assert (again.outcome.state, again.outcome.score) == (played.outcome.state, played.outcome.score)


def test_a_greedy_model_repeats_itself_and_a_warm_one_does_not() -> None:
    """At temperature 0 five plays of one item begin alike, here and at another provider; at temperature 1
    they differ."""

    async def scenario() -> None:
        async with serving(Emulation()) as here, serving(Emulation(seed=7)) as there:
            greedy = [
                met.text
                for met in await replies(here, [clue(n) for n in range(5)])
                if isinstance(met, Completion)
            ]
            warm = await replies(here, [clue(n) for n in range(5)], sampling=Sampling(temperature=1.0))
            elsewhere = await replies(there, [clue()])
            assert len(greedy) == 5
            assert len(set(greedy)) == 1
            assert len({met.text for met in warm if isinstance(met, Completion)}) > 1
            assert [met.text for met in elsewhere if isinstance(met, Completion)] == greedy[:1]

    on_sockets(scenario)


# --- quotas ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "law", [SlidingWindow(10, 60.0), FixedWindows(10, 60.0, 7.0), RefilledBucket(10, 60.0, 0.0)]
)
def test_a_refused_request_is_told_the_moment_it_would_pass(law: QuotaLaw) -> None:
    """A refused request is admitted after exactly the wait that it was given, and not earlier."""
    now_s, waited = 0.0, 0
    for _ in range(35):
        wait_s = law.wait_s(1.0, now_s)
        if wait_s > 0:
            waited += 1
            assert law.wait_s(1.0, now_s + 0.9 * wait_s) > 0
            now_s += wait_s
            assert law.wait_s(1.0, now_s) <= 1e-6
        law.take(1.0, now_s)
        now_s += 0.5
    assert waited


def test_no_window_holds_more_than_the_quota() -> None:
    """Ten requests a second for three minutes pass a quota of 20 a minute 60 times, and no 60 s contain
    21."""
    at = provider(Emulation(quotas=Quotas(requests=20)))
    statuses = [asked(at, now_s=tick / 10).status for tick in range(1800)]
    assert statuses.count(200) == 60
    assert at.statistics.refused == 1740
    assert at.statistics.peak(60.0) == 20


def test_tokens_are_a_quota_too() -> None:
    """A quota of 100 output tokens admits one reply of sixty, refuses a second and gives the wait."""
    at = provider(Emulation(quotas=Quotas(output_tokens=100)))
    first = told(asked(at, temperature=0))["usage"]
    second = asked(at, now_s=1.0, temperature=0)
    assert first["completion_tokens"] > 50  # type: ignore[index]
    assert second.status == 429
    assert "retry-after: 59\r\n" in second.headers
    assert asked(at, now_s=60.0, temperature=0).status == 200


def test_headers_say_what_is_left() -> None:
    """The headers report limit, remaining and reset in each dialect's format; an untold quota has no
    headers."""
    openai = asked(provider(Emulation(quotas=Quotas(requests=20))))
    anthropic = asked(provider(Emulation(quotas=Quotas(requests=20))), path="/v1/messages")
    silent = asked(provider(Emulation(quotas=Quotas(requests=20, told=False))))
    assert (
        "x-ratelimit-limit-requests: 20\r\nx-ratelimit-remaining-requests: 19\r\nx-ratelimit-reset-requests: 60000ms"
        in openai.headers
    )
    assert "anthropic-ratelimit-requests-remaining: 19\r\n" in anthropic.headers
    assert "ratelimit" not in silent.headers


# --- faults ---------------------------------------------------------------------------------------------

BECOMES: dict[Fault, type[CallError] | None] = {
    "429": RateLimited,
    "500": Unavailable,
    "503": Unavailable,
    "reset_before_headers": Unavailable,
    "reset_in_body": Garbled,
    "truncated_json": Garbled,
    "html": Garbled,
    "error_in_200": Unavailable,
    "stall": TimedOut,
    "wrong_usage": None,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_reaches_our_client_as_what_it_is(fault: Fault) -> None:
    """Each fault alone becomes the right class of error; a wrong usage spoils the counts and not the
    reply."""

    async def scenario() -> None:
        faults = Faults(rate=1.0, kinds=(fault,), stall_s=30.0)
        async with serving(Emulation(faults=faults)) as emulator:
            (met,) = await replies(emulator, [clue()], silence_s=0.3)
            expected = BECOMES[fault]
            if expected is None:
                assert isinstance(met, Completion)
                assert met.text.startswith("CLUE: ")
                assert met.completion_tokens is None
            else:
                assert type(met) is expected
            assert emulator.statistics.faults == {fault: 1}

    on_sockets(scenario)


def test_faults_follow_what_is_asked_not_who_comes_first() -> None:
    """The same requests in another order meet the same faults; a repeated request draws anew."""
    texts = [f"question {number}" for number in range(200)]
    faults = Emulation(faults=Faults(rate=0.2, kinds=("500",)))
    forwards, backwards = provider(faults), provider(faults)
    one = {text: asked(forwards, text).status for text in texts}
    other = {text: asked(backwards, text).status for text in reversed(texts)}
    again = {text: asked(forwards, text).status for text in texts}
    assert one == other
    assert 20 <= sum(status == 500 for status in one.values()) <= 60
    assert one != again


@pytest.mark.parametrize(
    "head", ["GET /v1/models HTTP/1.0\r\n\r\n", "GET /v1/models HTTP/1.1\r\nConnection: close\r\n\r\n"]
)
def test_an_answer_ends_its_connection_where_the_client_waits_for_that(head: str) -> None:
    """The connection ends after the answer for HTTP/1.0 and for `Connection: close`."""

    async def main() -> bytes:
        async with serving(Emulation()) as emulator:
            answer = b""
            async with await anyio.connect_tcp("127.0.0.1", urlsplit(emulator.base_url).port or 0) as stream:
                await stream.send(head.encode())
                async for piece in stream:
                    answer += piece
            return answer

    assert anyio.run(main).endswith(b"}}")


def test_a_provider_that_dies_is_gone() -> None:
    """After its last request the provider answers nobody, and nobody can connect."""

    async def scenario() -> None:
        async with serving(Emulation(faults=Faults(dies_after=2))) as emulator:
            met = await replies(emulator, [clue(), clue(), clue()])
            with anyio.fail_after(5):
                await emulator.dead.wait()
            gone = await replies(emulator, [clue()])
            assert [type(one) for one in met[:2]] == [Completion, Completion]
            assert isinstance(met[2], Unavailable)  # its used connection ended: another one cannot be made
            assert [type(one) for one in gone] == [ConnectFailed]

    on_sockets(scenario)


def test_a_full_queue_refuses() -> None:
    """With one worker and one place in the queue two of five requests at once are served."""

    async def scenario() -> None:
        async with serving(Emulation(latency=Latency(first_s=0.05, workers=1, queue_max=1))) as emulator:
            met: list[Completion | CallError] = []

            async def one(number: int) -> None:
                met.extend(await replies(emulator, [clue(number)]))

            async with anyio.create_task_group() as tasks:
                for number in range(5):
                    tasks.start_soon(one, number)
            assert sorted(type(one).__name__ for one in met) == [
                "Completion",
                "Completion",
                *["Unavailable"] * 3,
            ]

    on_sockets(scenario)


def test_a_name_that_is_not_served_is_unknown() -> None:
    """A provider that serves one model refuses any other name."""

    async def scenario() -> None:
        async with serving(Emulation(served="light-7b")) as emulator:
            (met,) = await replies(emulator, [clue()])
            assert isinstance(met, ModelUnknown)

    on_sockets(scenario)


# --- the same bytes -------------------------------------------------------------------------------------


def test_same_seed_and_requests_same_bytes() -> None:
    """Two emulators with one seed answer the same requests with the same bytes, faults included; another seed
    does not."""
    texts = [f"question {number % 7}" for number in range(40)]

    def run(seed: int) -> list[tuple[int, tuple[bytes, ...], str]]:
        at = provider(Emulation(seed=seed, faults=Faults(rate=0.2), latency=Latency(first_s=1.0, spread=0.5)))
        answers = [asked(at, text, temperature=1.0, now_s=float(number)) for number, text in enumerate(texts)]
        return [(one.status, one.pieces, f"{one.headers}{one.first_s}{one.cut_at}") for one in answers]

    assert run(1) == run(1)
    assert run(1) != run(2)


# --- defects --------------------------------------------------------------------------------------------


def both(defects: Defects, **fields: object) -> tuple[Response, Response]:
    """Returns the answers of an honest provider and of a defective one to one question."""
    return asked(provider(Emulation()), **fields), asked(provider(Emulation(defects=defects)), **fields)  # type: ignore[arg-type]


def test_temperature_may_be_ignored() -> None:
    """With a fixed temperature or a lower bound, replies at temperature 0 do not repeat; fixed at 0 they
    always do."""
    for defects in (Defects(temperature=1.0), Defects(temperature_min=0.8)):
        at = provider(Emulation(defects=defects))
        assert len({text_of(asked(at, temperature=0)) for _ in range(5)}) > 1
    greedy = provider(Emulation(defects=Defects(temperature=0.0)))
    assert len({text_of(asked(greedy, temperature=1.5)) for _ in range(5)}) == 1


def test_a_seed_may_be_ignored() -> None:
    """At temperature 1 a seed makes replies repeat, unless the defect ignores it."""
    honest, deaf = provider(Emulation()), provider(Emulation(defects=Defects(seed_ignored=True)))
    assert len({text_of(asked(honest, temperature=1, seed=3)) for _ in range(5)}) == 1
    assert len({text_of(asked(honest, temperature=1, seed=number)) for number in range(5)}) > 1
    assert len({text_of(asked(deaf, temperature=1, seed=3)) for _ in range(5)}) > 1


def test_max_tokens_may_be_ignored_or_capped() -> None:
    """max_tokens limits a reply unless it is ignored; a cap makes it shorter and the finish reason says
    "length"."""
    honest, deaf = both(Defects(max_tokens_ignored=True), max_tokens=5, temperature=0)
    assert told(honest)["usage"]["completion_tokens"] == 5  # type: ignore[index]
    assert told(deaf)["usage"]["completion_tokens"] > 5  # type: ignore[index]
    _, capped = both(Defects(output_tokens_max=8), max_tokens=50, temperature=0)
    assert told(capped)["usage"]["completion_tokens"] == 8  # type: ignore[index]
    assert told(capped)["choices"][0]["finish_reason"] == "length"  # type: ignore[index]


def test_a_stop_may_be_ignored() -> None:
    """The reply ends before the stop sequence, unless the defect ignores it."""
    word = text_of(both(Defects(), temperature=0)[0]).split(" ")[5]
    honest, deaf = both(Defects(stop_ignored=True), temperature=0, stop=[f" {word}"])
    assert f" {word}" not in text_of(honest)
    assert f" {word}" in text_of(deaf)


def test_a_hidden_system_prompt_is_counted_and_heard() -> None:
    """A hidden system prompt adds its tokens to the count and changes the reply."""
    honest, told_more = both(Defects(system_prompt="x" * 40), temperature=0)
    assert told(told_more)["usage"]["prompt_tokens"] == told(honest)["usage"]["prompt_tokens"] + 14  # type: ignore[index]
    assert text_of(told_more) != text_of(honest)


def test_a_cut_context_forgets_its_beginning() -> None:
    """Two long conversations that differ at the beginning get one reply from a cut context, with a small
    count."""
    at = provider(Emulation(defects=Defects(context_tokens_max=100)))
    one, other = (asked(at, start + " and so on" * 100, temperature=0) for start in ("Red", "Blue"))
    assert text_of(one) == text_of(other)
    assert told(one)["usage"]["prompt_tokens"] == 100  # type: ignore[index]


def test_another_template_counts_otherwise_and_leaks() -> None:
    """Under another template every message costs more, and some replies show a special token."""
    honest, swapped = both(Defects(template="other"), temperature=0)
    assert told(swapped)["usage"]["prompt_tokens"] == told(honest)["usage"]["prompt_tokens"] + 3  # type: ignore[index]
    at = provider(Emulation(defects=Defects(template="other")))
    assert any(
        "<|im_start|>" in text_of(asked(at, f"question {number}", temperature=0)) for number in range(100)
    )


def test_a_share_of_the_traffic_goes_elsewhere() -> None:
    """The planted share of requests is answered by another model; the fingerprint differs if that is
    admitted."""
    texts = [f"question {number // 2}" for number in range(300)]
    routed = provider(Emulation(defects=Defects(routed_share=0.2, routed_admitted=True)))
    said = [told(asked(routed, text, temperature=0)) for text in texts]
    own = provider(Emulation())
    expected = [told(asked(own, text, temperature=0)) for text in texts]
    elsewhere = [
        one["system_fingerprint"] != other["system_fingerprint"]
        for one, other in zip(said, expected, strict=True)
    ]
    assert elsewhere == [
        one["choices"] != other["choices"] for one, other in zip(said, expected, strict=True)
    ]
    assert 35 <= sum(elsewhere) <= 85
    assert any(first != second for first, second in zip(elsewhere[::2], elsewhere[1::2], strict=True))


def test_letters_and_white_space_may_be_lost() -> None:
    """The first letter is lower case, or the white space around the reply is removed."""
    honest, small = both(Defects(lowercase_first=True), temperature=0)
    assert text_of(small) == text_of(honest)[0].lower() + text_of(honest)[1:]
    honest, bare = both(Defects(strip_whitespace=True), temperature=0, stop=["\n"], max_tokens=40)
    assert text_of(bare) == text_of(honest).strip()


def test_noise_in_the_weights_flips_some_greedy_words() -> None:
    """Little noise in the weights changes few replies, much noise most of them, and always the same ones."""
    texts = [f"question {number}" for number in range(100)]

    def differing(noise: float) -> int:
        honest, noisy = provider(Emulation()), provider(Emulation(defects=Defects(weights_noise=noise)))
        return sum(
            text_of(asked(honest, text, temperature=0, max_tokens=10))
            != text_of(asked(noisy, text, temperature=0, max_tokens=10))
            for text in texts
        )

    assert 0 < differing(0.02) < 40 < differing(0.5)


# --- a real server behind -------------------------------------------------------------------------------


def test_a_real_server_may_stand_behind() -> None:
    """Replies of the server behind pass with its counts; quota, faults and defects are added."""

    async def scenario() -> None:
        async with serving(Emulation(weights="real")) as real:
            spoilt = Defects(lowercase_first=True, max_tokens_ignored=True, system_prompt="Be brief.")
            async with serving(
                Emulation(behind=real.base_url, quotas=Quotas(requests=2), defects=spoilt)
            ) as front:
                (straight,) = await replies(real, [clue()], provider="somebody")
                first, second, third = await replies(front, [clue(), clue(1), clue(2)], provider="somebody")
                assert isinstance(straight, Completion)
                assert isinstance(first, Completion)
                assert isinstance(second, Completion)
                assert isinstance(third, RateLimited)
                assert first.text[0].islower()
                assert first.completion_tokens is not None
                assert straight.completion_tokens is not None
                assert (first.prompt_tokens or 0) > (straight.prompt_tokens or 0)
                assert real.statistics.requests == 3
        async with serving(Emulation(behind=real.base_url)) as orphan:
            (nobody,) = await replies(orphan, [clue()])
            assert isinstance(nobody, Unavailable)
            assert nobody.status == 502

    on_sockets(scenario)


def test_what_is_streamed_adds_up() -> None:
    """The chunks of a streamed reply join to the whole reply in both dialects, the counts come last, and one
    piece leaves for each token."""
    whole = text_of(asked(provider(Emulation()), temperature=0))
    openai = asked(provider(Emulation()), temperature=0, stream=True, stream_options={"include_usage": True})
    data = [event.data for event in events(b"".join(openai.pieces), None)]
    assert data.pop() == b"[DONE]"
    chunks = [json.loads(one) for one in data]
    assert (
        "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks if chunk["choices"])
        == whole
    )
    assert chunks[-1]["usage"]["completion_tokens"] == -(-len(whole) // 4)
    anthropic = asked(provider(Emulation()), temperature=0, stream=True, path="/v1/messages")
    parts = [json.loads(event.data) for event in events(b"".join(anthropic.pieces), None)]
    assert "".join(part["delta"]["text"] for part in parts if part["type"] == "content_block_delta") == whole
    assert [part["type"] for part in parts][-2:] == ["message_delta", "message_stop"]
    tokens = -(-len(whole) // 4)
    assert (len(openai.pieces), len(anthropic.pieces)) == (tokens, tokens)  # so that only tokens take time


def test_log_probabilities_are_those_it_draws_by() -> None:
    """At temperature 1 the top candidate is drawn as often as its probability says."""
    at = provider(Emulation())
    came, expected, variance = 0, 0.0, 0.0
    for number in range(400):
        answer = told(
            asked(at, f"question {number}", temperature=1, max_tokens=1, logprobs=True, top_logprobs=4)
        )
        (token,) = answer["choices"][0]["logprobs"]["content"]  # type: ignore[index]
        probability = math.exp(token["top_logprobs"][0]["logprob"])
        assert math.isclose(sum(math.exp(one["logprob"]) for one in token["top_logprobs"]), 1.0)
        came += token["token"] == token["top_logprobs"][0]["token"]
        expected += probability
        variance += probability * (1 - probability)
    assert abs(came - expected) < 4 * math.sqrt(variance)


@pytest.mark.parametrize("path", ["/v1/models", "/tokenize", "/v1/completions", CHAT])
def test_a_wrong_key_is_refused_as_such(path: str) -> None:
    """Every path but the counts answers 401, so that a client names the key as the cause."""
    at = EmulatedProvider(Emulation(), find_instance=own_instance, key="right", now_s=0.0)
    assert asked(at, path=path).status == 401
