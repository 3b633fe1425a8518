"""What the clients' scripts in Python share.

    @feature("headers")          a function; what it raises is the failure
    topic(partitions=2)          a topic of its own, made by the native client
    native_records(name)         what the native client reads there
    stored_batches(name)         what lies on the disk

Each script prints one line of JSON per feature, as soon as it is known.
"""

import base64
import glob
import json
import os
import signal
import subprocess
import sys
import time
import traceback

KAFKA = os.environ["KAFKA_BOOTSTRAP"]
KAFKA_AUTO_CREATE = os.environ["KAFKA_AUTO_CREATE_BOOTSTRAP"]
RINGLOG = os.environ["RINGLOG_BIN"]
DATA_DIR = os.environ["RINGLOG_DATA_DIR"]
CLIENT = os.environ["KAFKA_CLIENT"]

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
SECONDS_PER_FEATURE = 60

# A byte of each value and no newline: `ringlog produce` sends lines.
EVERY_BYTE = bytes(byte for byte in range(256) if byte != ord("\n"))

_features = []
_names = {}


def feature(name):
    def register(function):
        _features.append((name, function))
        return function

    return register


def main(version):
    """Runs the features that the arguments name, or all."""
    print(json.dumps({"version": version}), flush=True)
    signal.signal(signal.SIGALRM, _too_late)
    for name, function in _features:
        if sys.argv[1:] and not any(wanted in name for wanted in sys.argv[1:]):
            continue
        started, failure = time.monotonic(), None
        signal.alarm(SECONDS_PER_FEATURE)
        try:
            function()
        except Exception as error:
            failure = _describe(error)
        signal.alarm(0)
        seconds = round(time.monotonic() - started, 1)
        print(json.dumps({"feature": name, "failure": failure, "seconds": seconds}), flush=True)


def _describe(error):
    """What was raised, and where in our scripts."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/ci/kafka/" in frame.filename]
    places = "".join(f"    {os.path.basename(frame.filename)}:{frame.lineno} {frame.line}\n" for frame in frames[1:])
    return f"{places}    {type(error).__name__}: {error}"


def _too_late(_signal, _frame):
    raise TimeoutError(f"not done within {SECONDS_PER_FEATURE} s")


def equal(found, wanted):
    assert found == wanted, f"found  {found!r:.600}\nwanted {wanted!r:.600}"


def wait_until(condition, what, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def unused_name(kind="topic"):
    _names[kind] = _names.get(kind, 0) + 1
    return f"{CLIENT}-{kind}-{_names[kind]}"


def topic(partitions=1, **configs):
    """A new topic; configs by Kafka's names, with `_` for `.`."""
    name = unused_name()
    settings = [f"--config={key.replace('_', '.')}={value}" for key, value in configs.items()]
    ringlog("topic", "create", name, f"--partitions={partitions}", *settings)
    return name


def topic_exists(name):
    return name in ringlog("topic", "list").decode().split()


def ringlog(*arguments, stdin=b""):
    done = subprocess.run([RINGLOG, *arguments], input=stdin, capture_output=True)
    assert done.returncode == 0, f"ringlog {' '.join(arguments)}: {done.stderr.decode()}"
    return done.stdout


def native_records(name):
    """What `ringlog consume` finds: (key, value, headers, timestamp) in the order of offsets."""
    lines = ringlog("consume", name, "--from=start", "--exit-at-end", "--jsonl").splitlines()
    records = sorted(map(json.loads, lines), key=lambda record: (record["partition"], record["offset"]))
    return [
        (
            _bytes(record, "key"),
            _bytes(record, "value"),
            [(header["key"], _bytes(header, "value")) for header in record["headers"]],
            record["timestamp"],
        )
        for record in records
    ]


def native_values(name):
    return [value for _, value, _, _ in native_records(name)]


def _bytes(part, field):
    text = part[field]
    if text is None:
        return None
    return base64.b64decode(text) if part.get(f"{field}_encoding") == "base64" else text.encode()


def stored_batches(name):
    """The batches of a topic as `ringlog dump` shows them, partition by partition."""
    described = ringlog("topic", "describe", name).decode()
    topic_id = described.split("\n")[0].rpartition(" ")[2]
    files = sorted(glob.glob(f"{DATA_DIR}/topics/{topic_id}/*/*.log"))
    lines = [line for file in files for line in ringlog("dump", file, "--output=json").splitlines()]
    return [batch for batch in map(json.loads, lines) if "codec" in batch]


def stored_codecs(name):
    return {batch["codec"] for batch in stored_batches(name)}


def compressible(count, text=""):
    """Values that every codec makes smaller."""
    return [f"{text}{index:06} {'ringlog ' * 100}".encode() for index in range(count)]
