"""Connects to a server over HTTP repeatedly, without a pause. Usage: client.py ADDRESS [COUNT]

ADDRESS is HOST:PORT or the path of a Unix socket. Each answer is the process id of the server. The program
prints it if it differs from the one before. It ends after COUNT answers, or at SIGTERM, and prints how many
there were. A connection that is refused or lost ends it at once, with 1."""

import signal
import socket
import sys

TIMEOUT = 60
asked_to_end = False


def ask_to_end(*_):
    global asked_to_end
    asked_to_end = True


def answer(address):
    if ":" in address:
        host, port = address.rsplit(":", 1)
        stream = socket.create_connection((host, int(port)), TIMEOUT)
    else:
        stream = socket.socket(socket.AF_UNIX)
        stream.settimeout(TIMEOUT)
        stream.connect(address)
    with stream:
        stream.sendall(b"GET / HTTP/1.0\r\nHost: here\r\n\r\n")
        text = b""
        while piece := stream.recv(4096):
            text += piece
    head, _, body = text.partition(b"\r\n\r\n")
    if head.split(b" ")[1:2] != [b"200"] or not body.strip().isdigit():
        raise OSError(f"the answer is {text}")
    return int(body)


signal.signal(signal.SIGTERM, ask_to_end)
address, count = sys.argv[1], int(sys.argv[2]) if sys.argv[2:] else sys.maxsize
answers, last = 0, None
while answers < count and not asked_to_end:
    try:
        server = answer(address)
    except OSError as error:
        print("lost:", error, flush=True)
        sys.exit(1)
    answers += 1
    if server != last:
        print("served by", server, flush=True)
        last = server
print("answers:", answers, flush=True)
