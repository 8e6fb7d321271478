"""Many clients in one process: `python -m bench.clients PORT COUNT PROXIES`, each with so many tcp proxies.

Prints a line each time that all proxies run, and each time that all clients have lost their sessions; runs until its input ends.
"""

from __future__ import annotations

import sys

import trio

from bench.system import HOST
from frp_py import Client, client_from_dict
from frp_py.client.phase import Phase
from frp_py.net.engine import loop


def _serves(client: Client) -> bool:
    session = client.session
    return session is not None and {run.phase for run in session.proxies.values()} == {Phase.RUNNING}


async def _watch(clients: list[Client], scope: trio.CancelScope) -> None:
    ended = trio.Event()

    async def until_the_end() -> None:
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(until_the_end)
        said = "none"
        while not ended.is_set():
            states = {_serves(client) for client in clients}
            now = "all" if states == {True} else "none" if not any(client.session for client in clients) else said
            if now != said:
                said = now
                print(said, flush=True)
            await trio.sleep(0.02)
    scope.cancel()


async def main(port: int, count: int, proxies: int) -> None:
    clients = []
    for number in range(count):
        wishes = [{"name": f"p{number}.{n}", "type": "tcp", "localPort": 1, "remotePort": 0} for n in range(proxies)]
        common = {"serverAddr": HOST, "serverPort": port, "auth": {"token": "bench"}, "loginFailExit": False}
        clients.append(Client(client_from_dict({**common, "proxies": wishes})))
    async with trio.open_nursery() as nursery:
        for client in clients:
            nursery.start_soon(client.run)
        nursery.start_soon(_watch, clients, nursery.cancel_scope)


if __name__ == "__main__":
    loop._LINGER = 0.0  # many engines in one thread: none may keep the others waiting for its next batch
    trio.run(main, int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
