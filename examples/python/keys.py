"""The keys of a cluster's servers: who is let in (CURVE, and ZAP behind it), and whose a frame is.

Every entry of the configuration has a public_key or none has. The secret key of the one server is in the file that
CLUSTER_KEY_FILE names, or else in <id>.key in keyDir.
"""
import os
import secrets
import struct

import zmq
from zmq.utils import z85

ZAP_ENDPOINT = "inproc://zeromq.zap.01"
ZAP_DOMAIN = b"cluster"


def public_keys(config, path):
    """The public keys of each server by its id, the present one first; {} if the configuration has none. ValueError
    says what is wrong."""
    keys = {}
    for entry in config["peers"]:
        present, previous = entry.get("public_key"), entry.get("previous_public_key")
        if previous and not present:
            raise ValueError(f"{path}: server {entry['id']}: a previous_public_key, and no public_key")
        keys[entry["id"]] = [k for k in (present, previous) if k]
        for key in keys[entry["id"]]:
            check(key, f"{path}: server {entry['id']}: public key {key!r}")
    missing = [pid for pid, listed in keys.items() if not listed]
    if missing and len(missing) < len(keys):
        raise ValueError(f"{path}: servers {missing} have no public_key, and others have: give all servers one, or none")
    listed = [key for ks in keys.values() for key in ks]
    if len(set(listed)) < len(listed):
        raise ValueError(f"{path}: a public key is listed twice")
    return {} if missing else keys


def check(key, what):
    try:
        good = isinstance(key, str) and len(z85.decode(key.encode())) == 32
    except (KeyError, ValueError, struct.error):  # whatever z85 makes of it
        good = False
    if not good:
        raise ValueError(f"{what}: it is no key, which is 40 characters in Z85")


def secret_key(pid, keys, config, config_path):
    """The key pair of this server as (public, secret). OSError or ValueError say what is wrong."""
    path = os.environ.get("CLUSTER_KEY_FILE") or os.path.join(
        os.path.dirname(config_path), config.get("keydir") or "", f"{pid}.key")
    with open(path, encoding="utf-8") as f:
        mode = os.fstat(f.fileno()).st_mode & 0o777
        if mode & 0o077:
            raise ValueError(f"{path}: its permissions are {mode:#o}, so that others can use the key: run chmod 600 on it")
        lines = [line.strip() for line in f]
    lines = [line for line in lines if line and line != "#" and not line.startswith("# ")]
    if len(lines) != 1:
        raise ValueError(f"{path}: want one line with a key; got {len(lines)}")
    check(lines[0], path)
    public = zmq.curve_public(lines[0].encode()).decode()
    if public not in keys[pid]:
        raise ValueError(f"{path}: it belongs to the public key {public!r}, and server {pid} is listed with {keys[pid]}")
    return public, lines[0]


class Gate:
    """Decides who gets through the handshake, and whose a message is. It answers when serve is called."""

    def __init__(self, context, pid, keys, pair):
        self.keys, self.public, self.secret = keys, *pair
        self.owners = {key: owner for owner, listed in keys.items() for key in listed}
        # ZeroMQ hands over what a peer says of itself as well: only a User-Id behind the seal is from here.
        self.seal = secrets.token_hex(16)
        self.zap = context.socket(zmq.REP)
        self.zap.linger = 0
        self.zap.bind(ZAP_ENDPOINT)

    def serve(self, counts):
        """Answer all questions of ZeroMQ that wait (ZeroMQ RFC 27)."""
        while True:
            try:
                version, request, domain, _, _, mechanism, *credentials = self.zap.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            key = z85.encode(credentials[0]).decode() if mechanism == b"CURVE" and credentials else ""
            listed = version == b"1.0" and domain == ZAP_DOMAIN and key in self.owners
            counts["refused: unlisted key"] += not listed
            # A code of 4xx would keep a peer of the same key from trying again.
            reply = [b"200", b"", (self.seal + key).encode()] if listed else [b"300", b"unlisted key", b""]
            self.zap.send_multipart([b"1.0", request, *reply, b""], zmq.NOBLOCK)

    def owner(self, part):
        """The id of the server whose key the connection has proved on which this part of a message came, or None."""
        try:
            seal, key = part.get("User-Id")[:len(self.seal)], part.get("User-Id")[len(self.seal):]
        except zmq.ZMQError:  # it has none
            return None
        return self.owners.get(key) if secrets.compare_digest(seal, self.seal) else None

    def listens(self):
        """The options of the socket that listens."""
        return {"CURVE_SERVER": 1, "CURVE_SECRETKEY": self.secret.encode(), "ZAP_DOMAIN": ZAP_DOMAIN,
                "ZAP_ENFORCE_DOMAIN": 1}

    def connects(self, key):
        """The options of a socket that connects to the server that has this public key."""
        return {"CURVE_SERVERKEY": key.encode(), "CURVE_PUBLICKEY": self.public.encode(),
                "CURVE_SECRETKEY": self.secret.encode()}
