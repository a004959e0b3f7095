"""Whether what is in this container answers: `healthcheck.py pop3://127.0.0.1:2110 ...`; exit code 0 or 1.

http://HOST:PORT/PATH   the page is 200
pop3://, lmtp://        the door greets
socketmap://HOST:PORT   a look-up is answered, and not with TEMP: so the database answers, too
beat:FOLDER             beat has written its timetable in that folder within LATE

The standard library only: it starts in a tenth of a second, every half a minute.
"""

import socket
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

TIMEOUT = 5.0  # seconds for each step; Docker gives the whole check ten
# Beat writes every three minutes, when it has set a job; one is set every few seconds.
LATE = 900.0


def page(url: SplitResult) -> bool:
    request = urllib.request.Request(url.geturl(), headers={"Host": "localhost"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310  (our own address)
        return bool(answer.status == 200)


def says(greeting: bytes, farewell: bytes) -> Callable[[SplitResult], bool]:
    def check(url: SplitResult) -> bool:
        with socket.create_connection((url.hostname or "", url.port or 0), TIMEOUT) as door:
            greeted = door.recv(512).startswith(greeting)
            door.sendall(farewell)
            return greeted

    return check


def answers(url: SplitResult) -> bool:
    with socket.create_connection((url.hostname or "", url.port or 0), TIMEOUT) as door:
        question = b"domains health.invalid"
        door.sendall(b"%d:%b," % (len(question), question))
        word = door.recv(512).partition(b":")[2].split(b" ")[0]
        return word in {b"OK", b"NOTFOUND"}


def ticks(url: SplitResult) -> bool:
    written = [path.stat().st_mtime for path in Path(url.path).glob("celerybeat-schedule*")]
    return bool(written) and time.time() - max(written) < LATE


CHECKS: Mapping[str, Callable[[SplitResult], bool]] = {
    "http": page,
    "pop3": says(b"+OK", b"QUIT\r\n"),
    "lmtp": says(b"220 ", b"QUIT\r\n"),
    "socketmap": answers,
    "beat": ticks,
}


def main(urls: list[str]) -> int:
    failed = 0
    for url in urls:
        parts = urlsplit(url)
        try:
            why = "" if CHECKS[parts.scheme](parts) else "no good answer"
        except (OSError, KeyError) as error:
            why = repr(error)
        if why:
            print(f"{url}: {why}")
            failed = 1
    return failed or int(not urls)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
