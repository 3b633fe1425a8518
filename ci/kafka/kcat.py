"""kcat, Debian's, on an old librdkafka."""

import re
import subprocess

from harness import *


def kcat(*arguments, stdin=b"", bootstrap=KAFKA, check=True):
    done = subprocess.run(["kcat", "-b", bootstrap, *arguments], input=stdin, capture_output=True, timeout=40)
    assert done.returncode == 0 or not check, f"kcat {' '.join(arguments)}: {done.stderr.decode()}"
    return done


def send(topic, values, *options, **more):
    """One record per value: none may have a newline in it."""
    return kcat("-P", "-t", topic, "-p0", *options, stdin=b"".join(b"%s\n" % value for value in values), **more)


def read(topic, *options, show="%s\\n", start="beginning", **more):
    """The records up to the end, each as `show` says."""
    done = kcat("-C", "-q", "-e", "-t", topic, "-p0", "-o", start, "-f", show, *options, **more)
    return done.stdout.splitlines()


def check_codec(codec):
    name, sent = topic(), []
    for acks in ["1", "all"]:
        batch = compressible(20, f"acks={acks} ")
        send(name, batch, "-z", codec, "-X", f"acks={acks}")
        sent += batch
        equal(read(name), sent)
    equal(stored_codecs(name), {codec})
    equal(native_values(name), sent)


for codec in CODECS:
    feature(f"codec {codec}, acks 1 and all")(lambda codec=codec: check_codec(codec))


@feature("acks 0, with every codec")
def acks_0():
    name, sent = topic(), []
    for codec in CODECS:
        batch = compressible(20, codec)
        send(name, batch, "-z", codec, "-X", "acks=0")
        sent += batch
        wait_until(lambda: native_values(name) == sent, "all arrived")
        equal(read(name), sent)


@feature("keys and tombstones")
def keys_and_tombstones():
    name = topic()
    kcat("-P", "-t", name, "-K", ":", "-Z", stdin=b"k:v\nk:\n:v\n")
    # With -Z what is empty is null; -1 is the length of null.
    equal(read(name, show="%k %K %s %S\\n"), [b"k 1 v 1", b"k 1  -1", b" -1 v 1"])
    equal([record[:2] for record in native_records(name)], [(b"k", b"v"), (b"k", None), (None, b"v")])


@feature("headers")
def headers():
    name = topic()
    wanted = [("again", b"1"), ("other", b""), ("again", b"2"), ("null", None)]
    send(name, [b"v"], "-H", "again=1", "-H", "other=", "-H", "again=2", "-H", "null")
    equal(read(name, show="%h\\n"), [b"again=1,other=,again=2,null=NULL"])
    equal(native_records(name)[0][2], wanted)


@feature("timestamps")
def timestamps():
    name, before = topic(), int(time.time() * 1000)
    send(name, [b"v"])
    (found,) = map(int, read(name, show="%T\\n"))
    assert before <= found <= time.time() * 1000, (before, found)
    equal(native_records(name)[0][3], found)


@feature("idempotent producer, 5 in flight")
def idempotent_producer():
    name = topic()
    sent = [b"%d" % index for index in range(5000)]
    options = ["enable.idempotence=true", "max.in.flight=5", "batch.num.messages=20"]
    send(name, sent, *(argument for option in options for argument in ("-X", option)))
    equal(read(name), sent)
    batches = stored_batches(name)
    assert len(batches) > 50 and all(batch["producer_id"] >= 0 for batch in batches), batches[:3]


class Member:
    """A member of a group: `kcat -G`, which says on stderr what it is assigned."""

    def __init__(self, group, topic):
        arguments = ["kcat", "-b", KAFKA, "-G", group, "-X", "heartbeat.interval.ms=300"]
        self.process = subprocess.Popen(
            [*arguments, topic], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, bufsize=0
        )
        os.set_blocking(self.process.stderr.fileno(), False)
        self.said = b""

    def assigned(self):
        self.said += self.process.stderr.read() or b""
        last = self.said.rpartition(b"assigned:")[2] if b"assigned:" in self.said else b""
        return {int(partition) for partition in re.findall(rb"\[(\d+)\]", last)}

    def leave(self):
        self.process.terminate()
        self.process.wait(20)


@feature("group: members join and leave")
def group_rebalance():
    name, group = topic(partitions=4), unused_name("group")
    first = Member(group, name)
    wait_until(lambda: first.assigned() == {0, 1, 2, 3}, "the first member has all")
    second = Member(group, name)
    wait_until(lambda: len(first.assigned()) == 2 and len(second.assigned()) == 2, "half each")
    equal(first.assigned() | second.assigned(), {0, 1, 2, 3})
    second.leave()
    wait_until(lambda: first.assigned() == {0, 1, 2, 3}, "the first member has all again")
    first.leave()


@feature("group: goes on from its commit")
def group_commit():
    name, group = topic(), unused_name("group")
    send(name, [b"%d" % index for index in range(10)])
    # kcat commits when it ends, what it has printed; -c ends it.
    options = ["-X", "auto.offset.reset=earliest", "-q", "-f", "%s\\n"]
    for start, count in [(0, 4), (4, 4), (8, 2)]:
        found = kcat("-G", group, "-c", str(count), *options, name).stdout.splitlines()
        equal(found, [b"%d" % index for index in range(start, start + count)])


@feature("seek by offset")
def seek_by_offset():
    name = topic()
    sent = [b"%d" % index for index in range(10)]
    send(name, sent)
    equal(read(name, start="7"), sent[7:])
    equal(read(name, start="-2"), sent[8:])
    equal(read(name, start="end"), [])


@feature("seek by time")
def seek_by_time():
    name = topic()
    for index in range(3):
        send(name, [b"%d" % index])
        time.sleep(0.01)
    times = [record[3] for record in native_records(name)]
    equal(read(name, start=f"s@{times[1]}"), [b"1", b"2"])
    equal(read(name, "-o", f"e@{times[2]}", start=f"s@{times[0] + 1}"), [b"1"])


@feature("isolation.level=read_committed")
def read_committed():
    name = topic()
    send(name, [b"1", b"2"])
    equal(read(name, "-X", "isolation.level=read_committed"), [b"1", b"2"])


@feature("message too large")
def message_too_large():
    name = topic(max_message_bytes=2000)
    failed = send(name, [b"x" * 5000], check=False)
    assert b"Message size too large" in failed.stderr, failed.stderr
    send(name, [b"small"])
    equal(native_values(name), [b"small"])


@feature("auth is not asked for, and SASL refused in words")
def no_auth():
    sasl = ["security.protocol=SASL_PLAINTEXT", "sasl.mechanisms=PLAIN", "sasl.username=me", "sasl.password=mine"]
    asked = [part for setting in sasl for part in ("-X", setting)]
    failed = kcat("-L", "-m", "2", *asked, check=False)
    assert failed.returncode != 0 and b"SASL Handshake not supported by broker" in failed.stderr, failed.stderr
    kcat("-L", "-X", "security.protocol=PLAINTEXT")


@feature("unknown topic")
def unknown_topic():
    name = unused_name("missing")
    fast = ["-X", "topic.metadata.propagation.max.ms=500", "-X", "message.timeout.ms=5000"]
    for failed in [send(name, [b"x"], *fast, check=False), kcat("-C", "-e", "-t", name, *fast, check=False)]:
        assert failed.returncode != 0 and b"nknown topic" in failed.stderr, failed.stderr
    assert not topic_exists(name)


@feature("unknown topic is created (kafka.auto_create_topics)")
def auto_create():
    name = unused_name("made")
    send(name, [b"x"], bootstrap=KAFKA_AUTO_CREATE)
    equal(read(name, bootstrap=KAFKA_AUTO_CREATE), [b"x"])


@feature("reads what ringlog produces")
def reads_native():
    name, sent = topic(), []
    for codec in CODECS:
        batch = [b"\x00\xff every byte", *compressible(20, codec)]
        lines = b"".join(b"key=%s\n" % value for value in batch)
        ringlog("produce", name, "--key-separator==", "--header=h=1", f"--compression={codec}", stdin=lines)
        sent += batch
    equal(read(name, show="%k %h %s\\n"), [b"key h=1 " + value for value in sent])
    equal(stored_codecs(name), set(CODECS))


@feature("list topics")
def list_topics():
    name = topic(partitions=3)
    metadata = json.loads(kcat("-L", "-J").stdout)
    partitions = {found["topic"]: len(found["partitions"]) for found in metadata["topics"]}
    equal(partitions[name], 3)
    equal(metadata["brokers"], [{"id": 1, "name": KAFKA}])


@feature("offsets of a partition")
def partition_offsets():
    name = topic()
    send(name, [b"1", b"2", b"3"])
    for when, offset in [("-2", 0), ("-1", 3), ("0", 0)]:
        equal(kcat("-Q", "-t", f"{name}:0:{when}").stdout.split()[-1], b"%d" % offset)


if __name__ == "__main__":
    shown = subprocess.run(["kcat", "-V"], capture_output=True, text=True).stdout
    version, library = re.search(r"Version (\S+) .*librdkafka (\S+)", shown).groups()
    main(f"{version}, librdkafka {library}")
