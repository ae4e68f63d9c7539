"""Calls a tool of a bus daemon and writes the result to standard output.

    python call.py ws://127.0.0.1:8079 [TOOL [ARGUMENTS]]

Without a tool, lists the tools. Needs `websockets`. A token is taken from BUS_TOKEN.
"""

import hashlib
import json
import os
import sys
import urllib.request

from websockets.sync.client import connect

TOKEN = os.environ.get("BUS_TOKEN")


def main(url, tool=None, arguments="{}"):
    with connect(url) as socket:
        socket.send(json.dumps({"op": "hello", "token": TOKEN}))
        ack = json.loads(socket.recv())
        if not ack["ok"]:
            sys.exit(f"refused: {ack['error']}")
        if tool is None:
            socket.send(json.dumps({"op": "list_tools"}))
            print(json.dumps(json.loads(socket.recv())["tools"], indent=2))
            return
        call = {"op": "call_tool", "request_id": "1", "name": tool, "arguments": json.loads(arguments)}
        socket.send(json.dumps(call))
        while (frame := json.loads(socket.recv()))["op"] != "call_tool_res":
            pass  # call_tool_ack and progress
    if "error" in frame:
        sys.exit(f"{frame['error']['code']}: {frame['error']['message']}")
    if frame.get("delivery") == "reference":
        redeem(url, frame["retrieval"])
    else:
        sys.stdout.buffer.write("\n\n".join(output["text"] for output in frame["outputs"]).encode())


def redeem(url, retrieval):
    """Fetches the payload from the daemon that sent the claim, and checks every byte of it."""
    request = urllib.request.Request("http" + url.removeprefix("ws").rstrip("/") + retrieval["path"])
    if TOKEN:
        request.add_header("Authorization", f"Bearer {TOKEN}")
    digest = hashlib.sha256()
    with urllib.request.urlopen(request) as response:
        while chunk := response.read(1 << 16):
            digest.update(chunk)
            sys.stdout.buffer.write(chunk)
    if digest.hexdigest() != retrieval["sha256"]:
        sys.exit("the payload is damaged")


main(*sys.argv[1:])
