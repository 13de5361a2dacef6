"""Servers of this machine that no run may reach: they remember what was said to them."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from pathlib import Path

VSOCK_ANY = 0xFFFFFFFF


class Listeners:
    """TCP, UDP, unix (path and abstract) and vsock, served by one thread until `close`."""

    def __init__(self, folder: Path, name: str) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._stop, self._stopped = socket.socketpair()
        self._selector.register(self._stopped, selectors.EVENT_READ, ("stop", False))
        self.tcp_port = self._tcp()
        udp = self._open(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0), "udp")
        self.udp_port: int = udp.getsockname()[1]
        self.unix_stream, self.unix_datagram = str(folder / "stream"), str(folder / "datagram")
        self._open(socket.AF_UNIX, socket.SOCK_STREAM, self.unix_stream, "unix")
        self._open(socket.AF_UNIX, socket.SOCK_DGRAM, self.unix_datagram, "unix")
        for path in (self.unix_stream, self.unix_datagram):
            Path(path).chmod(0o777)  # the rights of the file must not be what protects it
        self.abstract = name
        self._open(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + name, "abstract")
        self.vsock_port = self._vsock()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _open(self, family: int, kind: int, address: object, name: str) -> socket.socket:
        server = socket.socket(family, kind)
        server.bind(address)
        server.setblocking(False)
        if kind == socket.SOCK_STREAM:
            server.listen(16)
        accepts = kind == socket.SOCK_STREAM
        self._selector.register(server, selectors.EVENT_READ, (name, accepts))
        return server

    def _tcp(self) -> int:
        port: int = self._open(
            socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0), "tcp"
        ).getsockname()[1]
        with contextlib.suppress(OSError):  # a machine without IPv6
            self._open(socket.AF_INET6, socket.SOCK_STREAM, ("::1", port), "tcp")
        return port

    def _vsock(self) -> int | None:
        """A vsock port that this machine can reach itself (needs vsock_loopback), else None."""
        try:
            server = self._open(
                socket.AF_VSOCK, socket.SOCK_STREAM, (VSOCK_ANY, VSOCK_ANY), "vsock"
            )
            port: int = server.getsockname()[1]
            with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as client:
                client.settimeout(1)
                client.connect((1, port))
        except OSError:
            return None
        return port

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                name, accepts = key.data
                if name == "stop":
                    return
                with contextlib.suppress(OSError):
                    self._take(key.fileobj, name, accepts)

    def _take(self, server: object, name: str, accepts: bool) -> None:
        assert isinstance(server, socket.socket)
        if accepts:
            client, _ = server.accept()
            client.setblocking(False)
            self._selector.register(client, selectors.EVENT_READ, (name, False))
            return
        data = server.recv(4096)
        with self._lock:
            self.heard.append((name, data))
        if not data and server.type == socket.SOCK_STREAM:
            self._selector.unregister(server)
            server.close()

    def from_run(self, mark: str) -> list[str]:
        """The channels on which something with this mark was heard."""
        with self._lock:
            return sorted({name for name, data in self.heard if mark.encode() in data})

    def close(self) -> None:
        """Stop the thread and close all sockets."""
        self._stop.send(b"x")
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._stop.close()
        self._selector.close()
