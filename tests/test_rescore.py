"""`lightbulb rescore` over real sockets: emulated servers of known weights answer, and one of them scores.

Without the header of turns, which a method with another provider does not send, the emulator's automaton
answers itself."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import duckdb
import pytest
from aiohttp import web
from anyio.from_thread import start_blocking_portal

from backends.emulator.scoring import CHAT_TEMPLATE, Scorer
from backends.emulator.server import serving
from backends.emulator.toy_model import END_OF_REPLY
from harness.core.emulation import Defects, Emulation
from tests.backends import http_servers
from tests.bots import rows
from tests.command import Ended, command, lightbulb

SERVERS = {
    "own": Emulation(),
    "same": Emulation(),
    "noisy": Emulation(defects=Defects(weights_noise=0.5)),
    "routed": Emulation(defects=Defects(routed_share=0.2)),
    "warm": Emulation(defects=Defects(temperature=0.3)),
}


@asynccontextmanager
async def servers() -> AsyncIterator[Mapping[str, str]]:
    """Method -> the base URL of its server."""
    async with AsyncExitStack() as stack:
        yield {
            name: (await stack.enter_async_context(serving(emulation))).base_url
            for name, emulation in SERVERS.items()
        }


def write_sweep(
    folder: Path,
    urls: Mapping[str, str],
    keys: str = "",
    items: int = 30,
    games: Sequence[str] = ("taboo", "referencegame"),
) -> Path:
    """Writes a sweep over these servers, with the automaton's template beside it."""
    (folder / "template.jinja").write_text(CHAT_TEMPLATE)
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": END_OF_REPLY}))
    methods = "".join(
        f'[models.m.methods.{name}]\nbase_url = "{url}"\nlists_models = false\ntokens_max = 60\n{keys}\n'
        + ('dialect = "openai_chat"\n' if name != "own" else "")
        for name, url in urls.items()
    )
    sweep = folder / "t.toml"
    tables = "".join(f"[games.{game}]\nitems = {items}\n" for game in games)
    sweep.write_text(f'name = "t"\n{tables}{methods}')
    return sweep


@contextmanager
def running() -> Iterator[Mapping[str, str]]:
    """The servers on an event loop of their own, because commands need the main thread."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(servers()) as urls:
        yield urls


def rescore_words(folder: Path, url: str, reference: str = "m/own") -> Sequence[object]:
    """Returns the command by which the reference scores the store."""
    return (
        "rescore", folder / "t.duckdb", "--with", reference, "--base-url", url,
        "--chat-template", folder / "template.jinja",
    )  # fmt: skip


def rescored(folder: Path, url: str, *more: object) -> Ended:
    """Lets the method `own` score the store."""
    return lightbulb(*rescore_words(folder, url), *more)


class LimitedScorer:
    """Scores texts as the emulator does; from a number of scored texts on, each request ends otherwise."""

    def __init__(
        self,
        *,
        served_max: int | None = None,
        then: http_servers.Handler | None = None,
    ) -> None:
        self.scorer, self.scored = Scorer("", 0.0), 0
        self.served_max, self.then = served_max, then

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            return web.json_response({"data": []})
        path = "/v1/completions" if request.path.endswith("/completions") else "/tokenize"
        self.scored += path == "/v1/completions"
        if self.served_max is not None and self.then is not None and self.scored > self.served_max:
            return await self.then(request)
        body = self.scorer.answer(path, await request.read())
        return web.Response(body=body, content_type="application/json")


@contextmanager
def scoring(scorer: LimitedScorer) -> Iterator[str]:
    """Yields the base URL of this server; /tokenize stands beside its last folder."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(http_servers.serving(scorer.answer)) as url,
    ):
        yield f"{url}/deeper/v1"


def page_values(store: Path) -> dict[str, Any]:
    """The values that the script of the report draws."""
    page = store.with_suffix(".html")
    assert lightbulb("report", store, "-o", page).returncode == 0
    (data,) = re.findall(
        r'<script type="application/json" id="values">(.*?)</script>', page.read_text(), re.S
    )
    values: dict[str, Any] = json.loads(data)
    return values


def test_weights_are_told_apart_at_temperature_0(tmp_path: Path) -> None:
    """The same weights are consistent; noise on them, another model for a fifth of the calls and another
    temperature deviate. The audit has a third column, and fails on it only if asked to."""
    with running() as urls:
        played = lightbulb("run", write_sweep(tmp_path, urls))
        first, second = (rescored(tmp_path, urls["own"], "--json") for _ in range(2))
    assert played.returncode == 0, played.stderr
    assert first.returncode == 0, first.stderr
    found = json.loads(first.stdout)
    verdicts = {one["method"].removeprefix("m/"): one["verdict"] for one in found["methods"]}
    assert verdicts == {"same": "CONSISTENT", "noisy": "DEVIATES", "routed": "DEVIATES", "warm": "DEVIATES"}
    assert found["calibrated"]
    assert found["again"]["p"] == 1
    assert {one["retokenised"] for one in found["methods"]} == {0}
    assert json.loads(second.stdout)["methods"] == found["methods"]
    assert second.stderr.splitlines()[-1] == "0 replies scored"
    store = tmp_path / "t.duckdb"
    assert rows(
        store, "SELECT DISTINCT margin_sum, unlike, joined FROM rescores WHERE method = 'm/same'"
    ) == [(0.0, 0, False)]
    assert rows(store, "SELECT count(*) FROM rescores") == rows(store, "SELECT count(*) FROM calls")
    (audited,) = json.loads(lightbulb("audit", store, "--json").stdout)
    assert audited["weights"]["methods"] == found["methods"]
    text = lightbulb("audit", store).stdout
    assert "m/noisy: DEVIATES with the reference weights." in text
    assert lightbulb("audit", store, "--fail-on-difference", "--on", "weights").returncode == 5
    assert lightbulb("audit", store, "--fail-on-difference", "--on", "replies").returncode == 0
    deviating = [word for name in ("noisy", "routed", "warm") for word in ("--leave-out", f"m/{name}")]
    left_out = lightbulb("audit", store, "--fail-on-difference", "--on", "weights", *deviating)
    assert (left_out.returncode, "m/noisy: DEVIATES" in left_out.stdout) == (0, False)
    assert lightbulb("audit", store, "--on", "weights").returncode == 2
    drawn = {row["method"]: row for row in page_values(store)["verdicts"]["models"][0]["weights"]}
    assert {name: row["verdict"] for name, row in drawn.items()} == {
        **{f"m/{name}": verdict for name, verdict in verdicts.items()},
        "m/own (again)": "its second run",
    }
    assert drawn["m/noisy"]["low"] > 0
    assert drawn["m/same"]["low"] == drawn["m/same"]["high"] == 0


def test_another_method_than_the_audits_reference_may_score(tmp_path: Path) -> None:
    """The audit's reference was played again; both of its runs have a row."""
    with running() as urls:
        sweep = write_sweep(tmp_path, {"own": urls["own"], "same": urls["same"]}, items=6)
        sweep.write_text(f'{sweep.read_text()}[audit]\nreference = "m/same"\n')
        played = lightbulb("run", sweep)
        ended = rescored(tmp_path, urls["own"], "--json")
    assert played.returncode == 0, played.stderr
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert {one["method"]: one["verdict"] for one in found["methods"]} == {
        "m/same": "CONSISTENT",
        "m/same (again)": "CONSISTENT",
    }
    assert found["again"] is None


def test_each_reference_that_scored_has_its_own_findings(tmp_path: Path) -> None:
    """A second call by the first reference prints its findings, although another one has scored since. Before
    the first call, an audit that looks at weights says that there is no verdict on them."""
    with running() as urls:
        lightbulb("run", write_sweep(tmp_path, {name: urls[name] for name in ("own", "noisy")}, items=6))
        unscored = lightbulb("audit", tmp_path / "t.duckdb", "--fail-on-difference", "--on", "weights")
        first = rescored(tmp_path, urls["own"], "--json")
        other = lightbulb(*rescore_words(tmp_path, urls["noisy"], "m/noisy"), "--json")
        again = rescored(tmp_path, urls["own"], "--json")
    assert unscored.returncode == 0
    assert "--on weights: there is no verdict on weights in " in unscored.stderr
    assert other.returncode == 0, other.stderr
    assert json.loads(other.stdout)["reference"] == "m/noisy"
    assert again.returncode == 0, again.stderr
    assert again.stdout == first.stdout


def test_a_method_without_replies_scores_nothing(tmp_path: Path) -> None:
    """Its own replies would be the null, so it is refused before a request, and nothing is scored."""
    with running() as urls:
        sweep = write_sweep(tmp_path, {"own": urls["own"], "dead": "http://127.0.0.1:9/v1"}, items=1)
        lightbulb("run", sweep)
        with scoring(scorer := LimitedScorer()) as url:
            ended = lightbulb(*rescore_words(tmp_path, url, "m/dead"))
    assert ended.returncode == 2
    assert "has no reply of this method that can be scored" in ended.stderr
    assert scorer.scored == 0
    assert rows(tmp_path / "t.duckdb", "SELECT count(*) FROM rescores") == [(0,)]


def test_imported_replies_are_compared(tmp_path: Path) -> None:
    """An import states less of the sampling; what nobody sent is no difference."""
    with running() as urls:
        lightbulb("run", write_sweep(tmp_path, {name: urls[name] for name in ("own", "noisy")}, items=6))
        store, folder = tmp_path / "t.duckdb", tmp_path / "published"
        assert lightbulb("export", store, "--as", "clembench", "-o", folder).returncode == 0
        assert lightbulb("import", folder, "--store", store, "--model", "m=*").returncode == 0
        found = json.loads(rescored(tmp_path, urls["own"], "--json").stdout)
    assert {one["method"]: one["verdict"] for one in found["methods"]} == {
        "m/noisy": "DEVIATES",
        "m@noisy": "DEVIATES",
        "m@own": "CONSISTENT",
    }


def test_a_stop_text_is_no_change_of_weights(tmp_path: Path) -> None:
    """It can cut a reply inside a token. Only replies that were cut by the same stop text are compared."""
    with running() as urls:
        sweep = write_sweep(tmp_path, {name: urls[name] for name in ("own", "same")}, items=6)
        table = "[models.m.methods.same]\n"
        sweep.write_text(sweep.read_text().replace(table, f'{table}stop = ["e"]\n'))
        lightbulb("run", sweep)
        (one,) = json.loads(rescored(tmp_path, urls["own"], "--json").stdout)["methods"]
    assert one["unlike"] > 0.1, "the last tokens are others"
    assert one["verdict"] == "INCONCLUSIVE"
    assert one["reason"] == "the method and the reference have different sampling or a different constraint"


def test_replies_after_hidden_thoughts_are_left_out(tmp_path: Path) -> None:
    """A provider may count thoughts and not show them; the reply follows them all the same."""
    with running() as urls:
        chosen = {name: urls[name] for name in ("own", "noisy")}
        lightbulb("run", write_sweep(tmp_path, chosen, items=3, games=["taboo"]))
        with duckdb.connect(str(tmp_path / "t.duckdb")) as connection:
            connection.execute("UPDATE calls SET reasoning_tokens = if(method = 'm/noisy', 8, 0)")
        ended = rescored(tmp_path, urls["own"])
    assert ended.returncode == 0, ended.stderr
    assert rows(tmp_path / "t.duckdb", "SELECT DISTINCT method FROM rescores") == [("m/own",)]


def test_ranks_are_tested_above_temperature_0(tmp_path: Path) -> None:
    """Places of tokens are uniform for the reference's own sampler; a lower temperature is found by them, and
    nothing is confirmed."""
    with running() as urls:
        chosen = {name: urls[name] for name in ("own", "same", "warm")}
        lightbulb("run", write_sweep(tmp_path, chosen, keys="temperature = 1.0"))
        found = json.loads(rescored(tmp_path, urls["own"], "--json").stdout)
    verdicts = {one["method"].removeprefix("m/"): (one["kind"], one["verdict"]) for one in found["methods"]}
    assert verdicts == {"same": ("sampled", "INCONCLUSIVE"), "warm": ("sampled", "DEVIATES")}
    places = [
        (low + high) / 2
        for (listed,) in rows(
            tmp_path / "t.duckdb", "SELECT tokens_json FROM rescores WHERE method = 'm/own'"
        )
        for _, _, low, high in json.loads(str(listed))
    ]
    assert sum(places) / len(places) == pytest.approx(0.5, abs=0.02)


def test_what_cannot_score_is_refused_with_a_sentence(tmp_path: Path) -> None:
    """Servers without prompt_logprobs, methods that the store lacks, methods without a template, and bots."""
    with running() as urls:
        lightbulb("run", write_sweep(tmp_path, {"own": urls["own"]}, items=2))
        elsewhere = rescored(tmp_path, urls["own"].replace("/v1", "/openai/v1"))
        unknown = lightbulb("rescore", tmp_path / "t.duckdb", "--with", "m/other")
        bare = lightbulb("rescore", tmp_path / "t.duckdb", "--with", "m/own")
    assert "m/own at " in elsewhere.stderr
    assert "cannot score stored replies: POST /openai/tokenize returns no token ids" in elsewhere.stderr
    assert "has no such access method" in unknown.stderr
    assert "name a chat_template" in bare.stderr
    assert [ended.returncode for ended in (elsewhere, unknown, bare)] == [2, 2, 2]
    (tmp_path / "bots.toml").write_text(
        'name = "bots"\n[games.taboo]\nitems = 2\n[models.m.methods.b]\nbots = {}\n'
    )
    lightbulb("run", tmp_path / "bots.toml")
    bots = lightbulb("rescore", tmp_path / "bots.duckdb", "--with", "m/b")
    assert bots.returncode == 2
    assert bots.stderr.endswith(
        "bots returns no log-probabilities of a prompt over HTTP; name a method that vLLM serves\n"
    ), "--base-url does not help: bots have no weights"


def test_an_interrupt_loses_no_score(tmp_path: Path) -> None:
    """Ctrl-C says where the scores are and that the same command goes on, which it does."""
    with running() as urls:
        lightbulb("run", write_sweep(tmp_path, {"own": urls["own"]}, items=3))
    reached, ended = threading.Event(), threading.Event()

    async def stall(request: web.Request) -> web.StreamResponse:
        reached.set()
        await anyio.to_thread.run_sync(ended.wait)
        return web.Response()

    with scoring(LimitedScorer(served_max=2, then=stall)) as url:
        words = command(*rescore_words(tmp_path, url))
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            assert reached.wait(timeout=60)
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=60)
        finally:
            process.kill()
            ended.set()
    assert (process.returncode, "Traceback" in told) == (130, False), told
    assert "interrupted: the scores until now are in" in told
    with scoring(LimitedScorer()) as healthy:
        assert rescored(tmp_path, healthy).returncode == 0
    assert rows(
        tmp_path / "t.duckdb", "SELECT count(*), count(DISTINCT (episode_id, turn)) FROM rescores"
    ) == rows(tmp_path / "t.duckdb", "SELECT count(*), count(*) FROM calls")


def test_a_server_that_fails_midway_loses_no_score(tmp_path: Path) -> None:
    """The message names the method, its server and the error; the same command scores what is left."""
    with running() as urls:
        lightbulb("run", write_sweep(tmp_path, {"own": urls["own"]}, items=3))

    async def refuse(request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": {"message": "closed for today"}}, status=403)

    with scoring(LimitedScorer(served_max=2, then=refuse)) as url:
        failed = rescored(tmp_path, url)
        ((kept,),) = rows(tmp_path / "t.duckdb", "SELECT count(*) FROM rescores")
    with scoring(LimitedScorer()) as healthy:
        ended = rescored(tmp_path, healthy)
    assert failed.returncode == 2
    assert f"m/own at {url}: HTTP 403: closed for today" in failed.stderr
    assert "give the same command again" in failed.stderr
    assert kept
    assert ended.returncode == 0, ended.stderr
    assert rows(tmp_path / "t.duckdb", "SELECT count(*) FROM rescores") == rows(
        tmp_path / "t.duckdb", "SELECT count(*) FROM calls"
    )


def test_wrong_arguments_are_refused_before_a_request(tmp_path: Path) -> None:
    """A store that is absent is not made; an address and a template that are none name their place."""
    absent = lightbulb("rescore", tmp_path / "t.duckdb", "--with", "m/own")
    assert "t.duckdb: there is no such store" in absent.stderr
    assert not (tmp_path / "t.duckdb").exists()
    with running() as urls:
        lightbulb("run", write_sweep(tmp_path, {"own": urls["own"]}, items=1))
        (tmp_path / "template.jinja").write_text("{% nonsense")
        template = rescored(tmp_path, urls["own"])
    address = rescored(tmp_path, "nonsense")
    plain = rescored(tmp_path, "http://192.0.2.1/v1")
    assert "--base-url: 'nonsense' is not a web address" in address.stderr
    assert "--base-url: would send prompts and key unencrypted" in plain.stderr
    assert "t.duckdb (its sweep): models.m.methods.own.chat_template" in template.stderr
    assert {ended.returncode for ended in (absent, address, plain, template)} == {2}
