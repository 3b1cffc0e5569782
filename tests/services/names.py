"""Prints the sockets that systemd's Python module finds, by name, and what they are."""

import os
import socket
from systemd import daemon

for number, name in sorted(daemon.listen_fds_with_names().items()):
    kind = "socket of a kind that is not expected"
    if daemon.is_socket_inet(number, type=socket.SOCK_STREAM, listening=1):
        kind = "tcp listener"
    elif daemon.is_socket_unix(number, socket.SOCK_DGRAM):
        kind = "unix datagram socket"
    elif daemon.is_fifo(number):
        kind = "pipe"
    print(number, name, kind)
