"""A connector makes the methods of a sweep live: their gates, backends and servers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import anyio
import pytest

from backends.bots import BotsBackend
from backends.emulator.server import serving
from backends.http import HttpBackend
from harness.access.connect import Connector, LiveMethods, connector_for_all, retry_policy
from harness.access.context import RunContext
from harness.access.game_sets import game_sets
from harness.access.methods import resolved
from harness.config.load import load_sweep
from harness.core.emulation import Emulation
from harness.core.errors import SpecError, Stopped
from harness.core.records import GateEvent
from harness.core.vocabulary import EpisodePlan, Message, Prompt, ReplyFormat
from tests.world import Rows

T = TypeVar("T")

HEAD = 'name = "s"\nseed = 3\n[games.taboo]\nitems = 2\n'
BOTS = "[models.m.methods.bots]\nbots = { skill = 0.5, form_errors = 0.25, latency_s = 0.125 }\n"
EMULATED = '[models.m.methods.emulated]\nemulator = { skill = 1.0, served = "m" }\n'


def connector(tmp_path: Path, text: str, notices: list[str] | None = None, **environ: str) -> Connector:
    source = tmp_path / "s.toml"
    source.write_text(HEAD + text)
    spec = resolved(load_sweep(source, known_games=["taboo"]), source=source)
    context = RunContext(
        source=source,
        store=tmp_path / "s.duckdb",
        environ=environ,
        notify=(notices if notices is not None else []).append,
    )
    return connector_for_all(spec, context, game_sets(spec, source), run_id="run")


def connected(made: Connector, then: Callable[[LiveMethods], Awaitable[T]], rows: Rows | None = None) -> T:
    """Connects, does something with the live methods, and closes."""

    async def scenario() -> T:
        async with made.connected(rows or Rows()) as live:
            return await then(live)

    return anyio.run(scenario)


def greeting(made: Connector) -> Prompt:
    return Prompt(
        messages=(Message("user", "Hello"),),
        reply_format=ReplyFormat(regex=".*"),
        episode=EpisodePlan(
            instance=next(iter(made.instances.values())), rules="v1.6b", seating=("m/emulated",) * 2
        ).key,
        item=next(iter(made.instances)),
        seat="describer",
        turn=0,
    )


def test_bots_and_emulators_are_made(tmp_path: Path) -> None:
    """Bots get the sweep's settings and instances; an emulator is served on this machine and answers."""
    made = connector(tmp_path, BOTS + EMULATED)

    async def look(live: LiveMethods) -> tuple[LiveMethods, str, tuple[str, ...] | None]:
        reply = await live.routes["m/emulated"].backend.complete(greeting(made))
        served = await live.wired["m/emulated"].served_models()
        return live, reply.text, served

    live, text, served = connected(made, look)
    bots = live.routes["m/bots"].backend
    assert isinstance(bots, BotsBackend)
    assert (bots.seed, bots.skill, bots.form_errors, bots.latency_s) == (3, 0.5, 0.25, 0.125)
    assert isinstance(live.routes["m/emulated"].backend, HttpBackend)
    assert live.wired.keys() == {"m/emulated"}
    assert text
    assert served == ("m",)
    method = live.routes["m/emulated"].method
    assert (method.name, method.model, method.provider) == ("m/emulated", "m", "emulator")
    assert method.base_url.startswith("http://127.0.0.1:")
    assert {
        EpisodePlan(instance=one, rules="v1.6b", seating=()).item for one in made.instances.values()
    } == set(made.instances)


def test_gates_follow_the_quotas(tmp_path: Path) -> None:
    """Methods of one quota share a gate, and the gates of one account know each other."""
    remote = 'base_url = "http://127.0.0.1:9/v1"\nkey_env = "KEY"\n'
    text = "".join(
        f'[models.{model}.methods.{name}]\n{remote}served_name = "{served}"\n'
        for model, name, served in (("m", "a", "x"), ("m", "b", "x"), ("n", "c", "y"))
    )
    made = connector(tmp_path, text, KEY="secret")

    async def look(live: LiveMethods) -> LiveMethods:
        return live

    live = connected(made, look)
    a, b, c = (live.routes[name] for name in ("m/a", "m/b", "n/c"))
    assert a.gate is b.gate is live.gate_of["m/b"]
    assert c.gate is not a.gate
    assert set(map(id, a.account)) == set(map(id, c.account)) == {id(a.gate), id(c.gate)}
    assert a.alone
    assert c.alone
    assert (a.sole, b.sole, c.sole) == (False, False, True)
    assert a.key_users == c.key_users == ("m/a", "m/b", "n/c")


def test_an_event_of_a_gate_is_told_and_kept(tmp_path: Path) -> None:
    """A change of a gate is a line for the person and a row for the store, with the gate's name."""
    notices: list[str] = []
    rows = Rows()

    async def stop(live: LiveMethods) -> None:
        live.gate_of["m/bots"].close(Stopped("by the test"))

    connected(connector(tmp_path, BOTS, notices), stop, rows)
    (event,) = [row for row in rows.all if isinstance(row, GateEvent)]
    assert (event.run_id, event.gate) == ("run", "m/bots")
    assert notices == [f"m/bots: {event.detail}"]


def proved(made: Connector) -> None:
    async def prove(live: LiveMethods) -> None:
        await made.prove(live)

    connected(made, prove)


def test_servers_are_asked_before_play(tmp_path: Path) -> None:
    """A server that serves the model passes; another one is named with the key of the sweep file."""

    async def scenario() -> None:
        async with serving(Emulation(served="llama")) as emulator:
            text = f'[models.m.methods.a]\nbase_url = "{emulator.base_url}"\nserved_name = "llama"\n'
            made = connector(tmp_path, text)
            async with made.connected(Rows()) as live:
                await made.prove(live)
            text = (
                f'[models.m.methods.a]\nbase_url = "{emulator.base_url}"\nserved_name = "lama"\n'
                '[models.m.methods.b]\nbase_url = "http://127.0.0.1:9/v1"\n'
                '[models.m.methods.c]\nbase_url = "http://127.0.0.1:9/v1"\nkey_env = "KEY"\n'
            )
            made = connector(tmp_path, text, KEY="secret")
            async with made.connected(Rows()) as live:
                with pytest.raises(SpecError) as caught:
                    await made.prove(live)
        message = str(caught.value)
        assert "m.methods.a.served_name: " in message
        assert "does not serve 'lama'; did you mean \"llama\"?" in message
        b, c = (line for line in message.splitlines() if "127.0.0.1:9" in line)
        assert "check base_url and the server" in b
        assert "check base_url and the server" in c

    anyio.run(scenario)


@pytest.mark.parametrize(
    ("method", "advice"),
    [
        ("", "the method has no key: set key_env, or check base_url"),
        ('key_env = "KEY"', "check the key in KEY; if it is right, check base_url"),
    ],
)
def test_a_refused_key_is_named_before_the_address(tmp_path: Path, method: str, advice: str) -> None:
    """The server wants another key than the method has, or a key where it has none."""

    async def scenario() -> None:
        async with serving(Emulation(served="llama"), key="right") as emulator:
            text = (
                f'[models.m.methods.a]\nbase_url = "{emulator.base_url}"\nserved_name = "llama"\n{method}\n'
            )
            made = connector(tmp_path, text, KEY="wrong")
            async with made.connected(Rows()) as live:
                with pytest.raises(SpecError) as caught:
                    await made.prove(live)
        assert str(caught.value).endswith(advice)

    anyio.run(scenario)


def test_the_retry_policy_is_the_sweeps(tmp_path: Path) -> None:
    """The three keys of [retry] reach the policy."""
    made = connector(tmp_path, BOTS + "[retry]\ntries_max = 4\ndeadline_s = 77\nwait_max_s = 11\n")
    policy = retry_policy(made.spec)
    assert (policy.tries_max, policy.deadline_s, policy.wait_max_s) == (4, 77, 11)


def test_a_missing_key_is_refused_before_anything_is_connected(tmp_path: Path) -> None:
    """The error names the variable."""
    with pytest.raises(SpecError, match="EXAMPLE_KEY"):
        connector(tmp_path, '[models.m.methods.a]\nbase_url = "https://a.example"\nkey_env = "EXAMPLE_KEY"\n')


def test_a_proxy_is_announced_once_with_its_methods(tmp_path: Path) -> None:
    """Methods at a remote address share one line; a server on this machine and bots need no proxy."""
    remote = 'base_url = "https://api.example.com/v1"\n'
    text = (
        f"{BOTS}[models.m.methods.a]\n{remote}[models.m.methods.b]\n{remote}temperature = 1\n"
        '[models.m.methods.here]\nbase_url = "http://127.0.0.1:9/v1"\n'
    )
    notices: list[str] = []
    made = connector(tmp_path, text, notices, HTTPS_PROXY="http://user:secret@proxy.example:3128")

    async def nothing(live: LiveMethods) -> None:
        pass

    connected(made, nothing)
    (line,) = notices
    assert line.startswith("m/a, m/b: calls go through the proxy http://")
    assert "proxy.example:3128" in line
    assert "secret" not in line
