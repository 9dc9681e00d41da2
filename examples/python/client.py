"""A server in Python to try beside the Go examples, from this directory:

    go run ../client1 -id 0 -config ../../Config.json    # in one terminal
    python3 client.py -id 1 -config ../../Config.json    # in another

It prints what arrives and broadcasts each line that is typed; "@1 text" goes to
server 1 alone. -echo sends back what arrives. It ends with its standard input.
With -refusals it also names each reason for which it has refused something, once.
If the configuration has keys it reads the secret one of its server as the Go programs do, and speaks CURVE.
It needs pyzmq and cbor2 (Debian: apt-get install python3-zmq python3-cbor2).
"""
import argparse
import queue
import re
import sys
import threading

from cluster import Server


def main():
    args = argparse.ArgumentParser(description="One server of a cluster, in Python.")
    args.add_argument("-id", type=int, required=True, help="this server's id in the configuration")
    args.add_argument("-config", default="Config.json", help="the configuration file")
    args.add_argument("-echo", action="store_true", help="send back what arrives")
    args.add_argument("-refusals", action="store_true", help="print why something was refused, each reason once")
    args.add_argument("-quiet", action="store_true", help="do not print what arrives")
    args = args.parse_args()
    lines = queue.Queue()
    threading.Thread(target=read, args=[lines], daemon=True).start()
    try:
        server = Server(args.id, args.config)
    except (OSError, ValueError) as e:
        sys.exit(f"client.py: {e}")
    with server:
        print("ready", flush=True)
        named = set()
        while run(server, lines, args, named):
            pass
        print("ended:", dict(+server.counts), file=sys.stderr)


def read(lines):
    """Standard input is read by a thread of its own, since nothing can wait for it and for a server."""
    for line in sys.stdin:
        lines.put(line.rstrip("\n"))
    lines.put(None)


def run(server, lines, args, named):
    """Handle one line or one message, if there are; False at the end of the input."""
    try:
        line = lines.get_nowait()
        if line is None:
            return False
        to = re.match(r"@(\d+) (.*)", line)
        for pid in [int(to[1])] if to else server.participants:
            send(server, pid, to[2] if to else line)
    except queue.Empty:
        pass
    received = server.recv(timeout=0.1)
    if args.refusals:
        for reason in sorted((+server.counts).keys() - named):
            if reason.startswith("refused: "):
                named.add(reason)
                print(reason, flush=True)
    if received is not None:
        sender, _, value = received
        if not args.quiet:
            text = repr(value)
            print(f"Received msg from {sender}: {text if len(text) < 200 else text[:200] + '...'}", flush=True)
        if args.echo:
            send(server, sender, value)
    return True


def send(server, pid, value):
    try:
        server.send(pid, value)
    except (TimeoutError, TypeError, ValueError) as e:
        print(f"cannot send to server {pid}: {e}", file=sys.stderr)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
