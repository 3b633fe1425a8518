"""Bytes that no client sends: what comes in at the Kafka port without being asked."""

import socket
import struct
import threading

from harness import *

HOST, PORT = KAFKA.split(":")
API_VERSIONS, METADATA = 18, 3
STALL_SECONDS = 30


def connect():
    connection = socket.create_connection((HOST, int(PORT)), timeout=10)
    return connection


def request(key, version, correlation, body=b""):
    """A frame with a header of version 1, whose client id is `raw`."""
    frame = struct.pack(">hhih3s", key, version, correlation, 3, b"raw") + body
    return struct.pack(">i", len(frame)) + frame


def receive(connection, length):
    received = b""
    while len(received) < length:
        more = connection.recv(length - len(received))
        assert more, f"closed after {len(received)} of {length} bytes"
        received += more
    return received


def reply(connection):
    """Correlation id and body of the next reply."""
    (length,) = struct.unpack(">i", receive(connection, 4))
    frame = receive(connection, length)
    return struct.unpack(">i", frame[:4])[0], frame[4:]


def is_closed(connection, seconds=5):
    """Whether the broker ends the connection within that time, saying nothing."""
    connection.settimeout(seconds)
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


def is_answered(connection=None):
    connection = connection or connect()
    connection.sendall(request(API_VERSIONS, 0, 7))
    correlation, body = reply(connection)
    return correlation == 7 and body[:2] == b"\0\0"


def check_refused(garbage):
    beside, connection = connect(), connect()
    assert is_answered(beside)
    connection.sendall(garbage)
    assert is_closed(connection)
    assert is_answered(beside) and is_answered()


@feature("a TLS ClientHello ends the connection")
def tls():
    check_refused(bytes.fromhex("16030100c8010000c40303") + bytes(194))


@feature("an HTTP request ends the connection")
def http():
    check_refused(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")


@feature("a frame of 2 GiB ends the connection, and so does one of a negative length")
def huge_frame():
    check_refused(struct.pack(">i", 2**31 - 1))
    check_refused(struct.pack(">i", -1))


@feature("an unknown API key ends the connection")
def unknown_key():
    check_refused(request(999, 0, 1))


@feature("a version that is not served ends the connection")
def unknown_version():
    check_refused(request(METADATA, 99, 1))


@feature("ApiVersions of version 99 is answered: version 0, error 35, what is served")
def api_versions_99():
    connection = connect()
    connection.sendall(request(API_VERSIONS, 99, 5, b"\0\1\1\0"))
    correlation, body = reply(connection)
    error, count, *only = struct.unpack(">hihhh", body)
    equal((correlation, error, count, only), (5, 35, 1, [API_VERSIONS, 0, 4]))
    assert is_answered(connection)


@feature("300 requests at once are answered in their order")
def pipelined():
    connection = connect()
    all_topics = struct.pack(">i", 0)
    requests = [
        request(API_VERSIONS, 0, index) if index % 3 else request(METADATA, 0, index, all_topics)
        for index in range(300)
    ]
    # Beside reading: the broker reads on only when its replies are taken.
    threading.Thread(target=connection.sendall, args=(b"".join(requests),)).start()
    equal([reply(connection)[0] for _ in requests], list(range(300)))


@feature("a request that comes byte by byte is answered")
def byte_by_byte():
    connection = connect()
    for byte in request(API_VERSIONS, 0, 9):
        connection.sendall(bytes([byte]))
        time.sleep(0.005)
    equal(reply(connection)[0], 9)


@feature("a request that is not sent to its end ends the connection after 30 s, others are answered meanwhile")
def half_sent():
    halves = [connect() for _ in range(20)]
    for half in halves:
        half.sendall(struct.pack(">i", 1_000_000) + b"\0\3\0\0")
    # This one is never silent for long.
    trickle = connect()
    trickle.sendall(struct.pack(">i", 60_000))
    started, slowest = time.monotonic(), 0.0
    beside, idle = connect(), connect()
    assert is_answered(idle)
    while time.monotonic() < started + STALL_SECONDS - 2:
        trickle.sendall(b"\0")
        asked = time.monotonic()
        assert is_answered(beside)
        slowest = max(slowest, time.monotonic() - asked)
        time.sleep(0.5)
    # Neither too early nor too late; nothing but the end may come.
    assert not is_closed(halves[0], 0.2), "closed before its time"
    assert all(is_closed(half, 10) for half in halves), "still open"
    assert is_closed(trickle, 5), "a byte now and then keeps it open"
    # Who had nothing to say for as long is in no hurry: its next request may come in two parts.
    asked = request(API_VERSIONS, 0, 9)
    idle.sendall(asked[:6])
    time.sleep(2.5)  # who is late is looked for every second
    idle.sendall(asked[6:])
    equal(reply(idle)[0], 9)
    assert slowest < 5, f"another client waited {slowest} s"


if __name__ == "__main__":
    main("")
