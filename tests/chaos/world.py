"""What the chaos runners share: processes that end with us, a Redis with a replica, a proxy for its address.

Everything listens on loopback or on unix sockets below one temporary directory.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time

import redis

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))


class Failure(Exception):
    """What was to hold does not."""


def await_true(what, test, seconds=90.0):
    """Waits until test() is true."""
    end = time.monotonic() + seconds
    while not test():
        if time.monotonic() > end:
            raise Failure(f"waited {seconds:g} s in vain: {what}")
        time.sleep(0.01)


def spawn(command, **options):
    """A process that dies when this one does. To be called by the main thread."""
    return subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *command], **options)


def is_stopped(process):
    """Whether it stands still (SIGSTOP)."""
    with contextlib.suppress(OSError), open(f"/proc/{process.pid}/stat", encoding="ascii") as file:
        return file.read().rsplit(")", 1)[1].split()[0] == "T"
    return False


def end(process, seconds=60.0):
    """SIGKILL, if it still runs."""
    if process is not None and process.poll() is None:
        process.kill()
        process.wait(seconds)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Proxy:
    """Forwards a unix socket to a port of this machine. Repointing it cuts all connections: a service address."""

    def __init__(self, path, port):
        self.path, self.port = path, port
        self._writers = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(asyncio.start_unix_server(self._link, path), self._loop).result()

    def repoint(self, port):
        self.port = port
        self._loop.call_soon_threadsafe(self._cut)

    def _cut(self):
        for writer in self._writers:
            writer.transport.abort()

    async def _link(self, reader, writer):
        try:
            other_reader, other_writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, other_writer}
        await asyncio.gather(self._pump(reader, other_writer), self._pump(other_reader, writer))
        self._writers -= {writer, other_writer}

    @staticmethod
    async def _pump(reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        writer.close()


class Server:
    """One redis-server with an append-only file."""

    def __init__(self, directory):
        self.directory, self.port, self.process = directory, free_port(), None

    def start(self, empty):
        if empty:
            shutil.rmtree(self.directory, ignore_errors=True)
        os.makedirs(self.directory, exist_ok=True)
        with open(self.directory + ".log", "a", encoding="utf-8") as log:
            self.process = spawn(
                ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes",
                 "--dir", self.directory, "--repl-diskless-sync-delay", "0", "--loglevel", "warning"],
                stdout=log, stderr=log)
        await_true(f"redis-server at {self.port}", self._answers)

    def _answers(self):
        try:
            return self.client().ping()
        except redis.RedisError:
            return False

    def client(self):
        return redis.Redis(port=self.port, socket_timeout=5)

    def kill(self):
        end(self.process)


class RedisPair:
    """A master, its replica, and the address that clients know: `socket`."""

    def __init__(self, work):
        self.master, self.replica = (Server(os.path.join(work, name)) for name in ("redis-a", "redis-b"))
        self.socket = os.path.join(work, "redis.sock")
        self.master.start(empty=True)
        self.proxy = Proxy(self.socket, self.master.port)
        self._make_replica()

    def _make_replica(self):
        self.replica.start(empty=True)
        self.replica.client().replicaof("127.0.0.1", self.master.port)

    def in_step(self):
        """Whether the replica follows the master's stream."""
        return self.replica.client().info("replication").get("master_link_status") == "up"

    def restart(self, empty, down_s):
        """The master crashes and comes back, with what it had or empty."""
        self.master.kill()
        time.sleep(down_s)
        self.master.start(empty)

    def failover(self, lost_s):
        """The replica becomes the master without the last lost_s seconds of writes; the old master comes back empty."""
        self.replica.client().replicaof("NO", "ONE")
        time.sleep(lost_s)
        self.master.kill()
        self.master, self.replica = self.replica, self.master
        self.proxy.repoint(self.master.port)
        self._make_replica()

    def pause(self, seconds):
        """The master stands still."""
        self.master.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.master.process.send_signal(signal.SIGCONT)

    def stop(self):
        self.master.kill()
        self.replica.kill()
