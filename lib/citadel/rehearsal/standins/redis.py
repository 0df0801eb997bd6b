"""A stand-in for redis-server: enough of its protocol (RESP and inline commands) on 127.0.0.1:6379.

Only in a rehearsal's throwaway machine, on a host without redis. PING, ECHO, GET, SET, DEL, INFO, SELECT, QUIT.
"""

import socketserver

VALUES = {}
INFO = ("# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n"
        "# Persistence\r\nloading:0\r\nrdb_last_bgsave_status:ok\r\n")


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


class Conversation(socketserver.StreamRequestHandler):
    def handle(self):
        while True:
            words = self.command()
            if words is None:
                return
            if words:
                self.wfile.write(answer([word.decode("latin-1") for word in words]).encode("latin-1"))
            if words and words[0].upper() == b"QUIT":
                return

    def command(self):
        """The words of the next command, [] for an empty line, None at the end."""
        line = self.rfile.readline(65536)
        if not line:
            return None
        if not line.startswith(b"*"):
            return line.split()
        words = []
        for _ in range(int(line[1:])):
            length = int(self.rfile.readline(32)[1:])
            words.append(self.rfile.read(length))
            self.rfile.readline(8)
        return words


def answer(words):
    command = words[0].upper()
    if command == "PING":
        return "+PONG\r\n"
    if command in ("SELECT", "QUIT"):
        return "+OK\r\n"
    if command == "ECHO" and len(words) == 2:
        return bulk(words[1])
    if command == "GET" and len(words) == 2:
        return bulk(VALUES.get(words[1]))
    if command == "SET" and len(words) >= 3:
        VALUES[words[1]] = words[2]
        return "+OK\r\n"
    if command == "DEL":
        return ":%d\r\n" % len([VALUES.pop(word) for word in words[1:] if word in VALUES])
    if command == "INFO":
        return bulk(INFO)
    return "-ERR unknown command '%s'\r\n" % words[0]


def bulk(text):
    return "$-1\r\n" if text is None else "$%d\r\n%s\r\n" % (len(text), text)


if __name__ == "__main__":
    Server(("127.0.0.1", 6379), Conversation).serve_forever()
