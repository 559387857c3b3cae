"""One scripted scenario through the unmodified centrifuge-python, over JSON and over
Protobuf, with the same steps as ../scenario.test.mjs and ../go/scenario_test.go: tokens
and their expiry, private and direct rooms, history, presence, recovery, and what the
server orders.

Most of the time goes into waiting for tokens to expire, so both variants run at once,
each against a server of its own.
"""

import asyncio
import json
import os
import signal
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.request

from centrifuge import (
    Client, ClientEventHandler, ClientState, ReplyError, StreamPosition, SubscriptionEventHandler, SubscriptionState,
)

BINARY = os.environ["HUBBUB_BIN"]
KEY = "hs256:a secret of the scenario, 32 bytes long"
API_KEY = "an-api-key-of-the-scenario"
CONFIG = {"namespaces": {"room": {"join_leave": True}, "short": {"history_size": 5}}}
TTL = 3
GRACE = 25  # for which the server lets an expired token live on, see PROTOCOL.md
PATIENCE = 60  # a limit, not an expectation

# The surroundings are not to configure the server under test.
CLEAN_ENV = {name: value for name, value in os.environ.items() if not name.startswith("HUBBUB_")}


class Skip(Exception):
    """A step that can not be made here, and why."""


async def eventually(check, what):
    """Asks again until check returns something true."""
    until = time.monotonic() + PATIENCE
    while not check():
        assert time.monotonic() < until, f"not within {PATIENCE} s: {what}"
        await asyncio.sleep(0.02)


async def make_token(key, user, *flags):
    child = await asyncio.create_subprocess_exec(
        BINARY, "token", "--user", user, *flags, env={**CLEAN_ENV, "HUBBUB_TOKEN_KEY": key}, stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await asyncio.wait_for(child.communicate(), PATIENCE)
    assert child.returncode == 0, f"hubbub token: exit code {child.returncode}"
    return out.decode().strip()


class Server:
    async def start(self):
        self.directory = tempfile.TemporaryDirectory(prefix="hubbub-e2e-")
        config = os.path.join(self.directory.name, "namespaces.json")
        with open(config, "w") as file:
            json.dump(CONFIG, file)
        env = {**CLEAN_ENV, "HUBBUB_CONFIG": config, "HUBBUB_TOKEN_KEY": KEY, "HUBBUB_API_KEY": API_KEY}
        with open(os.path.join(self.directory.name, "log"), "w") as log:
            self.child = await asyncio.create_subprocess_exec(
                BINARY, "serve", "--addr=127.0.0.1:0", "--data=" + os.path.join(self.directory.name, "data"), "--drain=100ms",
                env=env, stdout=asyncio.subprocess.PIPE, stderr=log,
            )
        line = (await asyncio.wait_for(self.child.stdout.readline(), PATIENCE)).decode()
        if "http://" not in line:
            with open(os.path.join(self.directory.name, "log")) as log:
                raise AssertionError(f"the server said {line!r} and {log.read()}")
        self.address = line.strip().partition("http://")[2].rstrip("/")
        self.socket = f"ws://{self.address}/connection/websocket"

    async def stop(self):
        if self.child.returncode is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self.child.wait(), PATIENCE)
            except asyncio.TimeoutError:
                self.child.kill()
                await self.child.wait()
        self.directory.cleanup()

    async def order(self, method, body):
        """Posts to the server API."""
        request = urllib.request.Request(
            f"http://{self.address}/api/{method}", json.dumps(body).encode(),
            {"X-API-Key": API_KEY, "Content-Type": "application/json"},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with await asyncio.to_thread(opener.open, request, timeout=PATIENCE) as reply:
                got = json.loads(reply.read())
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404:
                    raise Skip(f"this server has no API: POST /api/{method} answers 404") from None
                raise AssertionError(f"{method}: {error.code} {error.read()}") from None
        assert got == {"result": {}}, f"{method}: {got}"


class Proxy:
    """Passes TCP on: cut() breaks every connection and lets none through until mend()."""

    async def start(self, address):
        self.host, _, self.port = address.rpartition(":")
        self.writers = set()
        self.closed = False
        self.listener = await asyncio.start_server(self.join, "127.0.0.1", 0)
        self.socket = "ws://127.0.0.1:%d/connection/websocket" % self.listener.sockets[0].getsockname()[1]

    def cut(self):
        self.closed = True
        for writer in self.writers:
            writer.transport.abort()

    def mend(self):
        self.closed = False

    def stop(self):
        self.listener.close()
        self.cut()

    async def join(self, reader, writer):
        if self.closed:
            writer.transport.abort()
            return
        up_reader, up_writer = await asyncio.open_connection(self.host, self.port)
        both = {writer, up_writer}
        self.writers |= both
        if self.closed:
            self.cut()
        await asyncio.gather(self.copy(reader, up_writer), self.copy(up_reader, writer))
        self.writers -= both

    @staticmethod
    async def copy(reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass  # cut
        finally:
            writer.close()


class Seen(ClientEventHandler, SubscriptionEventHandler):
    """What happens to a connection, or to a subscription."""

    def __init__(self, read):
        self.read = read
        self.connecting, self.connected, self.disconnected = [], [], []
        self.subscribed, self.unsubscribed, self.errors = [], [], []
        self.joins, self.leaves, self.publications, self.types = [], [], [], []

    async def on_connecting(self, ctx):
        self.connecting.append(ctx)

    async def on_connected(self, ctx):
        self.connected.append(ctx)

    async def on_disconnected(self, ctx):
        self.disconnected.append(ctx)

    async def on_subscribed(self, ctx):
        self.subscribed.append(ctx)

    async def on_unsubscribed(self, ctx):
        self.unsubscribed.append(ctx)

    async def on_error(self, ctx):
        self.errors.append(ctx)

    async def on_join(self, ctx):
        self.joins.append(ctx.info)

    async def on_leave(self, ctx):
        self.leaves.append(ctx.info)

    async def on_publication(self, ctx):
        data = self.read(ctx.pub.data)
        self.publications.append(data.get("n"))
        self.types.append(data.get("type"))


class Scenario:
    def __init__(self, protobuf):
        self.name = "protobuf" if protobuf else "json"
        self.protobuf = protobuf
        self.server, self.proxy = Server(), Proxy()
        self.clients = []

    def write(self, data):
        return json.dumps(data).encode() if self.protobuf else data

    def read(self, data):
        return json.loads(data) if self.protobuf else data

    async def dial(self, socket=None, **options):
        """Connects. Only the delays are changed: everything else is the SDK as people use it."""
        client = Client(
            socket or self.server.socket, events=Seen(self.read), use_protobuf=self.protobuf, proxy=None,
            min_reconnect_delay=0.05, max_reconnect_delay=0.4, **options,
        )
        self.clients.append(client)
        await client.connect()
        return client

    async def sign_in(self, user, *flags, socket=None):
        client = await self.dial(socket, token=await make_token(KEY, user, *flags))
        await client.ready(PATIENCE)
        return client

    async def subscribe(self, client, channel, **options):
        sub = client.new_subscription(
            channel, events=Seen(self.read), min_resubscribe_delay=0.05, max_resubscribe_delay=0.4, **options,
        )
        await sub.subscribe()
        return sub, sub.events

    async def member(self, client, channel, **options):
        sub, seen = await self.subscribe(client, channel, **options)
        await sub.ready(PATIENCE)
        return sub, seen

    async def refused(self, client, channel, code, **options):
        sub, seen = await self.subscribe(client, channel, **options)
        await eventually(lambda: seen.unsubscribed, f"{channel} is refused")
        assert seen.unsubscribed[0].code == code and not seen.subscribed, seen.unsubscribed
        client.remove_subscription(sub)

    async def publish(self, client, channel, numbers):
        for n in numbers:
            await client.publish(channel, self.write({"n": n}), timeout=PATIENCE)

    async def received(self, seen, numbers):
        """Wants these publications, each once and in order."""
        want = list(numbers)
        await eventually(lambda: len(seen.publications) >= len(want), f"{len(want)} publications")
        assert seen.publications == want, f"{seen.publications}, want {want}"

    async def run(self, report):
        try:
            await self.server.start()
            await self.proxy.start(self.server.address)
            await self.outlive()
            for step in (
                self.connect, self.wrong_token, self.private_channel, self.direct_messages, self.history, self.presence,
                self.recovery, self.server_side, self.rpc, self.orders, self.expiry,
            ):
                await report(f"{self.name}: {step.__name__}", step())
        finally:
            for client in self.clients:
                await client.disconnect()
            self.proxy.stop()
            await self.server.stop()

    async def outlive(self):
        """Connects with tokens of three seconds: the last step looks at what became of it."""
        self.tokens = self.sub_tokens = 0

        async def token():
            self.tokens += 1
            return await make_token(KEY, "lasting", f"--ttl={TTL}s")

        async def sub_token(channel):
            self.sub_tokens += 1
            return await make_token(KEY, "lasting", f"--ttl={TTL}s", "--channel", channel)

        self.over = time.monotonic() + TTL + GRACE + 1.5
        self.lasting = await self.dial(get_token=token)
        await self.lasting.ready(PATIENCE)
        self.lasting_sub, _ = await self.member(self.lasting, "$lasting", get_token=sub_token)

    async def connect(self):
        self.alice = await self.sign_in("alice", "--info", '{"name":"Alice"}')
        self.bob = await self.sign_in("bob")
        self.alice_id, self.bob_id = (client.events.connected[0].client for client in (self.alice, self.bob))
        assert self.alice_id and self.bob_id

    async def wrong_token(self):
        """It gives up: no endless reconnect."""
        client = await self.dial(token=await make_token("hs256:another secret than that of the server", "mallory"))
        await eventually(lambda: client.events.disconnected, "it gives up")
        assert client.events.disconnected[0].code == 3500, client.events.disconnected
        await asyncio.sleep(1)
        assert len(client.events.connecting) == 1 and client.state == ClientState.DISCONNECTED

    async def private_channel(self):
        await self.refused(self.alice, "$team", 103)
        await self.refused(self.alice, "$team", 103, token=await make_token(KEY, "bob", "--channel", "$team"))
        await self.refused(self.alice, "$team", 103, token=await make_token(KEY, "alice", "--channel", "$other"))
        _, seen = await self.member(
            self.alice, "$team",
            get_token=lambda channel: make_token(KEY, "alice", "--channel", channel, "--allow", "pub,hst,prs"),
        )
        await self.publish(self.alice, "$team", [1])
        await self.received(seen, [1])

    async def direct_messages(self):
        room = "@alice,bob"
        _, a = await self.member(self.alice, room)
        _, b = await self.member(self.bob, room)
        carol = await self.sign_in("carol")
        await self.refused(carol, room, 103)
        try:
            await self.publish(carol, room, [0])
            raise AssertionError("Carol may publish")
        except ReplyError as error:
            assert error.code == 103, error
        await self.publish(self.bob, room, [1])
        await self.received(a, [1])
        await self.received(b, [1])

    async def history(self):
        sub, seen = await self.member(self.alice, "room:history")
        sent = list(range(1, 121))
        await self.publish(self.alice, "room:history", sent)
        await self.received(seen, sent)
        for reverse in (False, True):
            found, pages, since = [], [], None
            while (page := await sub.history(limit=50, since=since, reverse=reverse, timeout=PATIENCE)).publications:
                pages.append(len(page.publications))
                found += [self.read(pub.data)["n"] for pub in page.publications]
                since = StreamPosition(page.publications[-1].offset, page.epoch)
            assert pages == [50, 50, 20], pages
            assert found == (sent[::-1] if reverse else sent), found

    async def presence(self):
        a, seen = await self.member(self.alice, "room:presence", join_leave=True)
        b, _ = await self.member(self.bob, "room:presence")
        await eventually(lambda: any(who.client == self.bob_id and who.user == "bob" for who in seen.joins), "Bob joins")
        there = (await a.presence(PATIENCE)).clients
        assert sorted(there) == sorted([self.alice_id, self.bob_id]), there
        assert there[self.alice_id].user == "alice" and self.read(there[self.alice_id].conn_info) == {"name": "Alice"}, there
        stats = await a.presence_stats(PATIENCE)
        assert (stats.num_clients, stats.num_users) == (2, 2), stats
        await b.unsubscribe()
        await eventually(lambda: seen.leaves, "Bob leaves")
        assert seen.leaves[0].client == self.bob_id, seen.leaves
        stats = await a.presence_stats(PATIENCE)
        assert (stats.num_clients, stats.num_users) == (1, 1), stats

    async def recovery(self):
        """After a cut; and its refusal when history is gone."""
        dave = await self.sign_in("dave", "--channels", "room:server-side", socket=self.proxy.socket)
        _, kept = await self.member(dave, "room:kept")
        _, gone = await self.member(dave, "short:gone")
        rooms = ("room:kept", "short:gone", "room:server-side")
        for room in rooms:
            await self.publish(self.alice, room, [1, 2])
        for seen in (kept, gone, dave.events):
            await self.received(seen, [1, 2])
        self.proxy.cut()
        for room in rooms:
            await self.publish(self.alice, room, range(3, 61))
        self.proxy.mend()
        await eventually(
            lambda: all(len(seen.subscribed) == 2 for seen in (kept, gone, dave.events)), "all are subscribed again",
        )
        for room in rooms:
            await self.publish(self.alice, room, [61])
        await self.received(kept, range(1, 62))
        await self.received(dave.events, range(1, 62))
        await self.received(gone, [1, 2, 61])
        for seen, recovered in ((kept, True), (gone, False), (dave.events, True)):
            first, again = seen.subscribed
            assert not first.was_recovering and again.was_recovering and again.recovered == recovered, seen.subscribed

    async def server_side(self):
        erin = await self.sign_in("erin", "--channels", "room:first,$second")
        await eventually(lambda: len(erin.events.subscribed) == 2, "subscribed by the server")
        assert sorted(ctx.channel for ctx in erin.events.subscribed) == ["$second", "room:first"]
        assert all(ctx.recoverable and ctx.positioned for ctx in erin.events.subscribed)
        await self.publish(self.alice, "room:first", [1])
        await self.received(erin.events, [1])

    async def rpc(self):
        """A message with a key is sent once; somebody types; and what is not there."""
        sub, seen = await self.member(self.bob, "room:rpc")

        async def call(method, data):
            return self.read((await self.alice.rpc(method, self.write(data), PATIENCE)).data)

        async def refused(code, data):
            try:
                await call("chat.send", data)
                raise AssertionError(f"it is sent: {data}")
            except ReplyError as error:
                assert error.code == code, error

        message = {"channel": "room:rpc", "data": {"n": 1}, "key": "k"}
        first = await call("chat.send", message)
        assert first["offset"] > 0 and first["duplicate"] is False, first
        again = await call("chat.send", message)
        assert again == {"offset": first["offset"], "duplicate": True}, again
        await refused(107, {**message, "data": {"n": 2}})
        await refused(103, {"channel": "$other", "text": "hi"})
        assert await call("chat.typing", {"channel": "room:rpc"}) == {}
        await eventually(lambda: "typing" in seen.types, "Bob sees that Alice types")
        await self.publish(self.alice, "room:rpc", [3])
        await self.received(seen, [1, None, 3])
        found = (await sub.history(limit=10, timeout=PATIENCE)).publications
        assert [(self.read(pub.data)["n"]) for pub in found] == [1, 3] and found[0].offset == first["offset"], found

        try:
            await self.alice.rpc("no.such", self.write({}), PATIENCE)
            raise AssertionError("an unknown RPC is answered")
        except ReplyError as error:
            assert error.code == 108 and error.message, error

    async def orders(self):
        """The server unsubscribes and disconnects."""
        frank = await self.sign_in("frank")
        _, seen = await self.member(frank, "room:orders")
        await self.publish(self.alice, "room:orders", [1])
        await self.received(seen, [1])
        await self.server.order("unsubscribe", {"user": "frank", "channel": "room:orders"})
        await eventually(lambda: seen.unsubscribed, "unsubscribed")
        assert seen.unsubscribed[0].code == 2000, seen.unsubscribed
        await self.publish(self.alice, "room:orders", [2])
        await self.server.order("disconnect", {"user": "frank"})
        await eventually(lambda: frank.events.disconnected, "disconnected")
        assert frank.events.disconnected[0].code == 3503, frank.events.disconnected
        await asyncio.sleep(1)
        assert len(frank.events.connecting) == 1, "it is to stay away"
        assert seen.publications == [1], "nothing comes after the unsubscribe"

    async def expiry(self):
        await asyncio.sleep(max(0, self.over - time.monotonic()))
        await self.publish(self.lasting, "room:lasting", [1])
        events, sub = self.lasting.events, self.lasting_sub
        assert len(events.connecting) == 1 and self.lasting.state == ClientState.CONNECTED, events.connecting
        assert len(sub.events.subscribed) == 1 and sub.state == SubscriptionState.SUBSCRIBED, sub.events.subscribed
        assert not events.errors and not sub.events.errors, (events.errors, sub.events.errors)
        assert self.tokens >= 5 and self.sub_tokens >= 5, (self.tokens, self.sub_tokens)


async def main():
    passed, failed, skipped = [], [], []

    async def report(name, step):
        started = time.monotonic()
        try:
            await asyncio.wait_for(step, 60)
        except Skip as why:
            skipped.append(name)
            print(f"skipped {name}: {why}", flush=True)
        except Exception:
            failed.append(name)
            print(f"FAILED {name}\n{traceback.format_exc()}", flush=True)
        else:
            passed.append(name)
            print(f"ok {name} ({time.monotonic() - started:.1f} s)", flush=True)

    scenarios = [Scenario(protobuf=False), Scenario(protobuf=True)]
    ends = await asyncio.gather(*(scenario.run(report) for scenario in scenarios), return_exceptions=True)
    for scenario, end in zip(scenarios, ends):
        if end is not None:
            failed.append(scenario.name)
            print(f"FAILED {scenario.name}\n{''.join(traceback.format_exception(end))}", flush=True)
    print(f"{len(passed)} passed, {len(failed)} failed, {len(skipped)} skipped")
    return 1 if failed or not passed else 0


sys.exit(asyncio.run(main()))
