"""Clients of etcd behind one small interface, each used as its own documentation says, and what all of them are to do.

As a program it does that to the lab of `ETCDLAB_LAB`: `python -m tests.clients.drivers NAME`. Not more than one gRPC
client fits into a process: each brings its own definition of etcd's `kv.proto`, and protobuf takes only one.
"""

import asyncio
import contextlib
import importlib
import importlib.metadata
import json
import os
import queue
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from etcdlab import Lab
from etcdlab.etcd.environment import clean

TIMEOUT_S = 2
TTL_S = 60


class Driver(ABC):
    """A client, connected to `member`, or to as many as it can. After `transient` errors its users try again."""

    name: ClassVar[str]
    module: ClassVar[str]
    has_tls: ClassVar[bool] = True
    knows_all: ClassVar[bool] = False
    transient: tuple[type[Exception], ...]

    def __init__(self, lab: Lab, member: str | None = None) -> None:
        self.kwargs = lab.kwargs_for(self.name, member=member)
        self.library = importlib.import_module(self.module)

    @classmethod
    def is_installed(cls) -> bool:
        """Whether this library is, and not another one whose module has the same name."""
        try:
            return bool(importlib.metadata.version(cls.name))
        except importlib.metadata.PackageNotFoundError:
            return False

    @abstractmethod
    def put(self, key: str, value: str, lease: Any = None) -> int:
        """Returns the key's revision."""

    @abstractmethod
    def get(self, key: str) -> str | None: ...

    @abstractmethod
    def swap(self, key: str, old: str, new: str) -> bool:
        """A transaction: `new` if it is `old`."""

    @abstractmethod
    def watch(self, key: str, since: int, value: str) -> str:
        """Watch from a revision on, put `value`, and return what the watch tells first."""

    @abstractmethod
    def grant(self) -> Any:
        """A lease of TTL_S."""

    @abstractmethod
    def revoke(self, lease: Any) -> None: ...

    @abstractmethod
    def close(self) -> None: ...


def exercise(driver: Driver, prefix: str) -> None:
    """Everything once. Can be begun again when it broke off."""
    counter, watched, leased = f"{prefix}/counter", f"{prefix}/watched", f"{prefix}/leased"
    driver.put(counter, "1")
    assert driver.get(counter) == "1"
    assert driver.swap(counter, "1", "2")
    assert not driver.swap(counter, "1", "3")
    assert driver.get(counter) == "2"
    revision = driver.put(watched, "old")
    assert driver.watch(watched, revision + 1, "new") == "new"
    lease = driver.grant()
    driver.put(leased, "x", lease)
    assert driver.get(leased) == "x"
    driver.revoke(lease)
    assert driver.get(leased) is None


class Etcdctl(Driver):
    name = "etcdctl"
    knows_all = True
    transient = (subprocess.SubprocessError,)

    def __init__(self, lab, member=None):
        self.command = [str(lab.plan.etcdctl), "--command-timeout", f"{TIMEOUT_S}s"]
        self.environment = clean(os.environ) | lab.env(member=member)

    def _run(self, *arguments: str, script: str = "") -> str:
        done = subprocess.run(
            [*self.command, *arguments],
            env=self.environment,
            input=script,
            capture_output=True,
            text=True,
            check=True,
            timeout=2 * TIMEOUT_S,
        )
        return done.stdout

    def put(self, key, value, lease=None):
        options = [f"--lease={lease:x}"] if lease else []
        return json.loads(self._run("put", key, value, *options, "--write-out=json"))["header"]["revision"]

    def get(self, key):
        return self._run("get", key, "--print-value-only").removesuffix("\n") or None

    def swap(self, key, old, new):
        return "SUCCESS" in self._run("txn", script=f'value("{key}") = "{old}"\n\nput {key} {new}\n\n\n')

    def watch(self, key, since, value):
        command = [*self.command, "watch", key, f"--rev={since}"]
        with subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, text=True) as watcher:
            bound = threading.Timer(TIMEOUT_S, watcher.kill)
            bound.start()
            try:
                self.put(key, value)
                assert watcher.stdout is not None
                _, _, told = (watcher.stdout.readline().rstrip() for _ in ("PUT", key, value))
            finally:
                bound.cancel()
                watcher.kill()
        return told

    def grant(self):
        return json.loads(self._run("lease", "grant", str(TTL_S), "--write-out=json"))["ID"]

    def revoke(self, lease):
        self._run("lease", "revoke", f"{lease:x}")

    def close(self):
        pass


class Etcd3(Driver):
    """The API that etcd3 began and its forks kept."""

    name = "etcd3"
    module = "etcd3"

    def __init__(self, lab, member=None):
        super().__init__(lab, member)
        self.client = self.library.client(**self.kwargs, timeout=TIMEOUT_S)
        errors = importlib.import_module(f"{self.module}.exceptions")
        self.transient = (errors.ConnectionFailedError, errors.ConnectionTimeoutError, errors.WatchTimedOut)

    def put(self, key, value, lease=None):
        return self.client.put(key, value, lease=lease).header.revision

    def get(self, key):
        value, _ = self.client.get(key)
        return None if value is None else value.decode()

    def swap(self, key, old, new):
        transactions = self.client.transactions
        done, _ = self.client.transaction(
            compare=[transactions.value(key) == old], success=[transactions.put(key, new)], failure=[]
        )
        return done

    def watch(self, key, since, value):
        told: queue.Queue[Any] = queue.Queue()
        watch_id = self.client.add_watch_callback(key, told.put, start_revision=since)
        self.client.put(key, value)
        response = told.get(timeout=TIMEOUT_S)
        self.client.cancel_watch(watch_id)
        if isinstance(response, Exception):
            raise response
        return response.events[0].value.decode()

    def grant(self):
        return self.client.lease(TTL_S)

    def revoke(self, lease):
        lease.revoke()

    def close(self):
        self.client.close()


class EtcdSdk(Etcd3):
    name = "etcd-sdk-python"
    module = "pyetcd"


class Etcd3Gateway(Driver):
    name = "etcd3gw"
    module = "etcd3gw"

    def __init__(self, lab, member=None):
        super().__init__(lab, member)
        self.client = self.library.client(**self.kwargs, timeout=TIMEOUT_S)
        # It answers 503 while there is no leader, and 500 if that ends a watch or a lease.
        errors = self.library.exceptions
        self.transient = (
            errors.ConnectionFailedError,
            errors.ConnectionTimeoutError,
            errors.InternalServerError,
            errors.WatchTimedOut,
        )

    def put(self, key, value, lease=None):
        self.client.put(key, value, lease=lease)
        [(_, metadata)] = self.client.get(key, metadata=True)
        return int(metadata["mod_revision"])

    def get(self, key):
        values = self.client.get(key)
        return values[0].decode() if values else None

    def swap(self, key, old, new):
        return self.client.replace(key, old, new)

    def watch(self, key, since, value):
        events, cancel = self.client.watch(key, start_revision=since)
        try:
            self.client.put(key, value)
            return next(iter(events))["kv"]["value"].decode()
        finally:
            cancel()

    def grant(self):
        return self.client.lease(TTL_S)

    def revoke(self, lease):
        lease.revoke()

    def close(self):
        self.client.session.close()


class Etcd3Py(Driver):
    name = "etcd3-py"
    module = "etcd3"

    def __init__(self, lab, member=None):
        super().__init__(lab, member)
        self.client = self.library.Client(**self.kwargs, timeout=TIMEOUT_S)

    def put(self, key, value, lease=None):
        return self.client.put(key, value, lease=lease or 0).header.revision

    def get(self, key):
        found = self.client.range(key).kvs
        return found[0].value.decode() if found else None

    def swap(self, key, old, new):
        transaction = self.client.Txn()
        transaction.compare(transaction.key(key).value == old.encode())
        transaction.success(transaction.put(key, new))
        return bool(transaction.commit().succeeded)

    def watch(self, key, since, value):
        told: queue.Queue[Any] = queue.Queue()
        watcher = self.client.Watcher(key, start_revision=since)
        watcher.onEvent(told.put)
        watcher.runDaemon()
        self.put(key, value)
        event = told.get(timeout=TIMEOUT_S)
        watcher.stop()
        return event.value.decode()

    def grant(self):
        return self.client.lease_grant(TTL_S).ID

    def revoke(self, lease):
        self.client.lease_revoke(lease)

    def close(self):
        self.client.close()


class AsyncDriver(Driver):
    """One that lives in an event loop of its own."""

    def __init__(self, lab, member=None):
        super().__init__(lab, member)
        self.runner = asyncio.Runner()
        try:
            self.client = self.run(self.connect())
        except BaseException:
            self.runner.close()
            raise

    def run(self, coroutine: Any) -> Any:
        async def bounded() -> Any:
            return await asyncio.wait_for(coroutine, 2 * TIMEOUT_S)

        return self.runner.run(bounded())

    @abstractmethod
    async def connect(self) -> Any: ...

    def close(self):
        try:
            self.run(self.client.close())
        finally:
            self.runner.close()


class Aetcd(AsyncDriver):
    name = "aetcd"
    module = "aetcd"
    has_tls = False

    async def connect(self):
        client = self.library.Client(**self.kwargs, timeout=TIMEOUT_S)
        await client.connect()
        return client

    def put(self, key, value, lease=None):
        return self.run(self.client.put(key.encode(), value.encode(), lease=lease)).header.revision

    def get(self, key):
        found = self.run(self.client.get(key.encode()))
        return found.value.decode() if found else None

    def swap(self, key, old, new):
        transactions = self.client.transactions
        done, _ = self.run(
            self.client.transaction(
                compare=[transactions.value(key.encode()) == old.encode()],
                success=[transactions.put(key.encode(), new.encode())],
                failure=[],
            )
        )
        return done

    def watch(self, key, since, value):
        async def first() -> str:
            events = await self.client.watch(key.encode(), start_revision=since)
            await self.client.put(key.encode(), value.encode())
            async for event in events:
                await events.cancel()
                return event.kv.value.decode()
            raise AssertionError("the watch ended")

        return self.run(first())

    def grant(self):
        return self.run(self.client.lease(TTL_S))

    def revoke(self, lease):
        self.run(lease.revoke())


class Etcd3Aio(AsyncDriver):
    name = "etcd3aio"
    module = "etcd3aio"
    knows_all = True

    def __init__(self, lab, member=None):
        super().__init__(lab, member)
        self.transient = (self.library.EtcdTransientError, self.library.EtcdConnectionError, TimeoutError)

    async def connect(self):
        client = self.library.Etcd3Client(**self.kwargs)
        await client.connect()
        return client

    def put(self, key, value, lease=None):
        return self.run(self.client.kv.put(key, value, lease=lease or 0)).header.revision

    def get(self, key):
        found = self.run(self.client.kv.get(key)).kvs
        return found[0].value.decode() if found else None

    def swap(self, key, old, new):
        kv = self.client.kv
        return self.run(kv.txn([kv.txn_compare_value(key, old)], [kv.txn_op_put(key, new)])).succeeded

    def watch(self, key, since, value):
        async def first() -> str:
            await self.client.kv.put(key, value)
            responses = self.client.watch.watch(key, start_revision=since)
            async for response in responses:
                if response.events:  # the first only says that the watch was made
                    await responses.aclose()
                    return response.events[0].kv.value.decode()
            raise AssertionError("the watch ended")

        return self.run(first())

    def grant(self):
        return self.run(self.client.lease.grant(TTL_S)).ID

    def revoke(self, lease):
        self.run(self.client.lease.revoke(lease))


class AsyncEtcd3Gateway(AsyncDriver):
    name = "async-etcd3gw"
    module = "async_etcd3gw"

    async def connect(self):
        return self.library.AsyncEtcd3Client(**self.kwargs, timeout=TIMEOUT_S)

    def put(self, key, value, lease=None):
        self.run(self.client.put(key, value, lease=lease))
        [(_, metadata)] = self.run(self.client.get(key, metadata=True))
        return int(metadata["mod_revision"])

    def get(self, key):
        values = self.run(self.client.get(key))
        return values[0].decode() if values else None

    def swap(self, key, old, new):
        return self.run(self.client.replace(key, old, new))

    def watch(self, key, since, value):
        async def first() -> str:
            await self.client.put(key, value)
            event = await self.client.watch_once(key, timeout=TIMEOUT_S, start_revision=since)
            return event["kv"]["value"].decode()

        return self.run(first())

    def grant(self):
        return self.run(self.client.lease(TTL_S))

    def revoke(self, lease):
        # lease.revoke() of 0.8 says True and sends nothing.
        self.run(self.client.post(self.client.get_url("/kv/lease/revoke"), json={"ID": lease.id}))


LIBRARIES: tuple[type[Driver], ...] = (
    Aetcd,
    AsyncEtcd3Gateway,
    Etcd3,
    Etcd3Aio,
    Etcd3Gateway,
    Etcd3Py,
    EtcdSdk,
)


if __name__ == "__main__":
    [kind] = [kind for kind in LIBRARIES if kind.name == sys.argv[1]]
    with contextlib.closing(kind(Lab.attach())) as driver:
        exercise(driver, kind.name)
