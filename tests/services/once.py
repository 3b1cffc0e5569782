"""Answers one client over HTTP with its process id, on a socket that it gets as number 3, and ends. A client
has to be there already: otherwise it exits with 1."""

import http.server
import os
import socket
import sys


class Answer(http.server.BaseHTTPRequestHandler):
    answered = False

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"%d\n" % os.getpid())
        Answer.answered = True


server = http.server.HTTPServer(("", 0), Answer, bind_and_activate=False)
server.socket.close()
server.socket = socket.socket(fileno=3)
server.timeout = 0
server.handle_request()
sys.exit(not Answer.answered)
