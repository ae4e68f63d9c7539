"""Loads a bus daemon: sessions that call at once, round after round, until every call has a result.

    python load.py ws://127.0.0.1:8079 PID [ROUNDS]

PID is the daemon's: its memory is read after each round. Fails where a result is not what was
asked for, or where the third round leaves more than 10 % more memory than the first. Needs
`websockets`.
"""

import asyncio
import json
import random
import sys
import time
import urllib.request

from websockets.asyncio.client import connect

SESSIONS, CALLS = 200, 20
SIZES = {100: 50, 10_000: 20, 200_000: 10, 900_000: 10, 1_500_000: 7, 3_000_000: 3}


def memory(pid):
    """Resident memory of a process, in MiB."""
    with open(f"/proc/{pid}/status") as status:
        line = next(line for line in status if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def redeem(url, path):
    with urllib.request.urlopen(url.replace("ws", "http", 1) + path) as response:
        return len(response.read())


async def result_of(socket, call):
    await socket.send(json.dumps(call))
    while (frame := json.loads(await socket.recv()))["op"] != "call_tool_res":
        pass
    return frame


async def session(url, name, seed, downloads):
    chance, refused, claims = random.Random(seed), 0, 0
    async with connect(url) as socket:
        await socket.send(json.dumps({"op": "hello", "session_id": name}))
        assert json.loads(await socket.recv())["ok"]
        for number in range(CALLS):
            size = chance.choices(list(SIZES), list(SIZES.values()))[0]
            arguments = {"bytes": size, "kind": "json", "seed": number}
            call = {"op": "call_tool", "request_id": str(number), "name": "generate", "arguments": arguments}
            while (frame := await result_of(socket, call)).get("error", {}).get("code") == "OVER_CAPACITY":
                refused += 1
                await asyncio.sleep(0.05 + chance.random() * 0.3)
            assert "error" not in frame, frame["error"]
            if frame.get("delivery") == "reference":
                claims += 1
                async with downloads:
                    got = await asyncio.to_thread(redeem, url, frame["retrieval"]["path"])
            else:
                got = len(frame["outputs"][0]["text"])
            assert got == size, f"{got} bytes came, {size} were asked for"
    return claims, refused


async def main(url, pid, rounds="3"):
    after = []
    for number in range(1, int(rounds) + 1):
        start, downloads = time.monotonic(), asyncio.Semaphore(8)
        work = [session(url, f"r{number}-{i}", i, downloads) for i in range(SESSIONS)]
        ended = await asyncio.gather(*work)
        seconds = time.monotonic() - start
        await asyncio.sleep(1)
        after.append(memory(pid))
        claims, refused = (sum(column) for column in zip(*ended))
        print(
            f"round {number}: {SESSIONS * CALLS} calls ended in their result, {claims} by claim, "
            f"after {refused} times OVER_CAPACITY, {seconds:.1f} s, memory {after[-1]:.1f} MiB",
            flush=True,
        )
    growth = after[min(2, len(after) - 1)] / after[0] - 1
    print(f"memory grew by {growth:.1%} from the first round to the third")
    if growth > 0.10:
        sys.exit("that is more than 10 %")


asyncio.run(main(*sys.argv[1:]))
