"""A stand-in for redis-server: enough of its protocol (RESP and inline commands) on 127.0.0.1:6379.

Only in a rehearsal's throwaway machine, on a host without redis. PING, ECHO, GET, SET, DEL, INFO, SELECT, QUIT.

/run/citadel-rehearsal/redis switches it: `loading` and `misconf` answer with redis' own words, `hang` accepts and
never answers, `crash` exits 1 at start; anything else, or no such file, is well.
"""

import socketserver
import sys
import time

MODE = "/run/citadel-rehearsal/redis"
LOADING = "-LOADING Redis is loading the dataset in memory"
MISCONF = ("-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands "
           "that may modify the data set are disabled, because this instance is configured to report errors during "
           "writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for "
           "details about the RDB error.")
VALUES = {}


def mode():
    try:
        with open(MODE) as file:
            return file.read().strip()
    except OSError:
        return ""


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


class Conversation(socketserver.StreamRequestHandler):
    def handle(self):
        while True:
            words = self.command()
            if words is None:
                return
            if mode() == "hang":
                time.sleep(3600)
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
    command, state = words[0].upper(), mode()
    if state == "loading" and command != "INFO":
        return LOADING + "\r\n"
    if state == "misconf" and command in ("SET", "DEL", "PING"):
        return MISCONF + "\r\n"
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
        return bulk("# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n# Persistence\r\nloading:%d\r\n"
                    "rdb_last_bgsave_status:%s\r\n" % (state == "loading", "err" if state == "misconf" else "ok"))
    return "-ERR unknown command '%s'\r\n" % words[0]


def bulk(text):
    return "$-1\r\n" if text is None else "$%d\r\n%s\r\n" % (len(text), text)


def main():
    if mode() == "crash":
        print("# Can't open the append-only file: No space left on device", file=sys.stderr)
        return 1
    Server(("127.0.0.1", 6379), Conversation).serve_forever()


if __name__ == "__main__":
    sys.exit(main())
