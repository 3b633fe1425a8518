"""confluent-kafka, on librdkafka."""

import threading

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
    libversion,
    version,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
)

from harness import *

ADMIN = AdminClient({"bootstrap.servers": KAFKA})


def send(topic, records, partition=0, bootstrap=KAFKA, **config):
    """Sends records (dicts of produce's arguments, or values) and waits until all are delivered."""
    config = {key.replace("_", "."): value for key, value in config.items()}
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, **config})
    failed = []
    for record in records:
        record = record if isinstance(record, dict) else {"value": record}
        producer.produce(
            topic,
            partition=partition,
            on_delivery=lambda error, _: error and failed.append(error),
            **record,
        )
    left = producer.flush(30)
    if failed:
        raise KafkaException(failed[0])
    equal(left, 0)


def consumer(group="unused", bootstrap=KAFKA, **config):
    config = {key.replace("_", "."): value for key, value in config.items()}
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "session.timeout.ms": 6000,
            "heartbeat.interval.ms": 300,
            **config,
        }
    )


def take(consumer, count, seconds=30):
    """The next `count` messages."""
    messages = []
    deadline = time.monotonic() + seconds
    while len(messages) < count:
        assert time.monotonic() < deadline, f"{len(messages)} of {count} messages within {seconds} s"
        message = consumer.poll(0.1)
        if message is not None:
            if message.error():
                raise KafkaException(message.error())
            messages.append(message)
    return messages


def read(topic, count, offset=0, partition=0, bootstrap=KAFKA, **config):
    reader = consumer(bootstrap=bootstrap, **config)
    reader.assign([TopicPartition(topic, partition, offset)])
    messages = take(reader, count)
    reader.close()
    return messages


def values(messages):
    return [message.value() for message in messages]


def result(futures):
    """Of an admin call on one thing: its result, or what it raises."""
    (future,) = futures.values()
    return future.result(timeout=20)


def refused(call, code):
    try:
        call()
    except KafkaException as error:
        equal(error.args[0].code(), code)
    else:
        raise AssertionError(f"it was not refused with {code}")


def check_codec(codec):
    name, sent = topic(), []
    for acks in ["1", "all"]:
        batch = compressible(20, f"acks={acks} ")
        send(name, batch, acks=acks, compression_type=codec)
        sent += batch
        equal(values(read(name, len(sent))), sent)
    equal(stored_codecs(name), {codec})
    equal(native_values(name), sent)


for codec in CODECS:
    feature(f"codec {codec}, acks 1 and all")(lambda codec=codec: check_codec(codec))


@feature("acks 0, with every codec")
def acks_0():
    name, sent = topic(), []
    for codec in CODECS:
        batch = compressible(20, codec)
        send(name, batch, acks="0", compression_type=codec)
        sent += batch
        equal(values(read(name, len(sent))), sent)


@feature("keys and tombstones")
def keys_and_tombstones():
    name = topic()
    pairs = [(b"k", b"v"), (None, b"v"), (b"", b""), (b"k", None), (EVERY_BYTE, EVERY_BYTE)]
    send(name, [{"key": key, "value": value} for key, value in pairs])
    equal([(message.key(), message.value()) for message in read(name, len(pairs))], pairs)
    equal([record[:2] for record in native_records(name)], pairs)


@feature("headers")
def headers():
    name = topic()
    wanted = [("again", b"1"), ("other", b""), ("again", b"2"), ("null", None), ("bytes", EVERY_BYTE)]
    send(name, [{"value": b"v", "headers": wanted}])
    equal(read(name, 1)[0].headers(), wanted)
    equal(native_records(name)[0][2], wanted)


@feature("timestamps")
def timestamps():
    name = topic()
    wanted = [1_700_000_000_123, 1_700_000_000_001, 1_600_000_000_999]
    send(name, [{"value": b"v", "timestamp": timestamp} for timestamp in wanted])
    equal([message.timestamp() for message in read(name, 3)], [(1, timestamp) for timestamp in wanted])
    equal([record[3] for record in native_records(name)], wanted)


@feature("idempotent producer, 5 in flight")
def idempotent_producer():
    name = topic()
    sent = [b"%d" % index for index in range(5000)]
    send(name, sent, enable_idempotence=True, max_in_flight=5, batch_num_messages=20)
    equal(values(read(name, len(sent))), sent)
    batches = stored_batches(name)
    assert len(batches) > 50 and all(batch["producer_id"] >= 0 for batch in batches), batches[:3]


class Member(threading.Thread):
    """A member of a group, that polls until it is told to leave."""

    def __init__(self, group, topic):
        super().__init__(daemon=True)
        self.consumer = consumer(group)
        self.assigned, self.leaving = set(), False
        self.consumer.subscribe([topic])
        self.start()

    def run(self):
        while not self.leaving:
            self.consumer.poll(0.05)
            self.assigned = {part.partition for part in self.consumer.assignment()}
        self.consumer.close()

    def leave(self):
        self.leaving = True
        self.join(20)


@feature("group: members join and leave")
def group_rebalance():
    name, group = topic(partitions=4), unused_name("group")
    first = Member(group, name)
    wait_until(lambda: first.assigned == {0, 1, 2, 3}, "the first member has all")
    second = Member(group, name)
    wait_until(lambda: len(first.assigned) == 2 and len(second.assigned) == 2, "half each")
    equal(first.assigned | second.assigned, {0, 1, 2, 3})
    second.leave()
    wait_until(lambda: first.assigned == {0, 1, 2, 3}, "the first member has all again")
    first.leave()


@feature("group: goes on from its commit")
def group_commit():
    name, group = topic(), unused_name("group")
    send(name, [b"%d" % index for index in range(10)])
    for start in [0, 4, 8]:
        member = consumer(group)
        member.subscribe([name])
        count = min(4, 10 - start)
        equal(values(take(member, count)), [b"%d" % index for index in range(start, start + count)])
        member.commit(offsets=[TopicPartition(name, 0, start + count)], asynchronous=False)
        equal(member.committed([TopicPartition(name, 0)])[0].offset, start + count)
        member.close()


@feature("seek by offset")
def seek_by_offset():
    name = topic()
    sent = [b"%d" % index for index in range(10)]
    send(name, sent)
    reader = consumer()
    reader.assign([TopicPartition(name, 0, 0)])
    equal(values(take(reader, 10)), sent)
    reader.seek(TopicPartition(name, 0, 7))
    equal(values(take(reader, 3)), sent[7:])
    equal(reader.get_watermark_offsets(TopicPartition(name, 0)), (0, 10))
    reader.close()


@feature("seek by time")
def seek_by_time():
    name, base = topic(), 1_700_000_000_000
    send(name, [{"value": b"%d" % index, "timestamp": base + 1000 * index} for index in range(10)])
    reader = consumer()

    def at(timestamp):
        return reader.offsets_for_times([TopicPartition(name, 0, timestamp)])[0].offset

    equal([at(base - 1), at(base + 4000), at(base + 4001), at(base + 9001)], [0, 4, 5, -1])
    reader.assign([TopicPartition(name, 0, at(base + 4001))])
    equal(values(take(reader, 2)), [b"5", b"6"])
    reader.close()


@feature("pause and resume")
def pause_and_resume():
    name = topic(partitions=2)
    reader = consumer()
    paused, other = TopicPartition(name, 0, 0), TopicPartition(name, 1, 0)
    reader.assign([paused, other])
    reader.pause([paused])
    send(name, [b"paused"], partition=0)
    send(name, [b"other"], partition=1)
    equal(values(take(reader, 1)), [b"other"])
    assert reader.poll(0.5) is None
    reader.resume([paused])
    equal(values(take(reader, 1)), [b"paused"])
    reader.close()


@feature("isolation.level=read_committed")
def read_committed():
    name = topic()
    send(name, [b"1", b"2"])
    equal(values(read(name, 2, isolation_level="read_committed")), [b"1", b"2"])


@feature("message too large")
def message_too_large():
    name = topic(max_message_bytes=2000)
    refused(lambda: send(name, [b"x" * 5000]), KafkaError.MSG_SIZE_TOO_LARGE)
    send(name, [b"small"])
    equal(native_values(name), [b"small"])


@feature("auth is not asked for, and SASL refused in words")
def no_auth():
    told = []
    sasl = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanisms": "PLAIN", "sasl.username": "me", "sasl.password": "mine"}
    asked = AdminClient({"bootstrap.servers": KAFKA, "error_cb": told.append, **sasl})
    refused(lambda: asked.list_topics(timeout=2), KafkaError._TRANSPORT)
    asked.poll(0)
    found = [error.str() for error in told if error.code() == KafkaError._AUTHENTICATION]
    assert found and "SASL Handshake not supported by broker" in found[0], told
    AdminClient({"bootstrap.servers": KAFKA, "security.protocol": "PLAINTEXT"}).list_topics(timeout=10)


@feature("unknown topic")
def unknown_topic():
    name = unused_name("missing")
    fast = {"topic_metadata_propagation_max_ms": 500}
    try:
        send(name, [b"x"], **fast)
    except KafkaException as error:
        assert error.args[0].code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC), error
    else:
        raise AssertionError("it was produced")
    reader = consumer(**fast)
    reader.subscribe([name])
    refused(lambda: take(reader, 1), KafkaError.UNKNOWN_TOPIC_OR_PART)
    reader.close()
    assert not topic_exists(name)


@feature("unknown topic is created (kafka.auto_create_topics)")
def auto_create():
    name = unused_name("made")
    send(name, [b"x"], bootstrap=KAFKA_AUTO_CREATE)
    equal(values(read(name, 1, bootstrap=KAFKA_AUTO_CREATE)), [b"x"])


@feature("reads what ringlog produces")
def reads_native():
    name, sent = topic(), []
    for codec in CODECS:
        batch = [EVERY_BYTE, *compressible(20, codec)]
        lines = b"".join(b"key=%s\n" % value for value in batch)
        arguments = ["--key-separator==", "--header=h=1", "--header=h=2", f"--compression={codec}"]
        ringlog("produce", name, *arguments, stdin=lines)
        sent += batch
    found = [(message.key(), message.value(), message.headers()) for message in read(name, len(sent))]
    equal(found, [(b"key", value, [("h", b"1"), ("h", b"2")]) for value in sent])
    equal(stored_codecs(name), set(CODECS))


@feature("list topics")
def list_topics():
    name = topic(partitions=3)
    metadata = ADMIN.list_topics(timeout=20)
    equal(sorted(metadata.topics[name].partitions), [0, 1, 2])
    equal(metadata.topics[name].partitions[2].leader, 1)


@feature("offsets of a partition")
def partition_offsets():
    name, base = topic(), 1_700_000_000_000
    send(name, [{"value": b"v", "timestamp": base + offset} for offset in [5, 9, 7]])

    def offset(spec):
        return result(ADMIN.list_offsets({TopicPartition(name, 0): spec})).offset

    equal(offset(OffsetSpec.earliest()), 0)
    equal(offset(OffsetSpec.latest()), 3)
    equal(offset(OffsetSpec.for_timestamp(base + 6)), 1)
    equal(offset(OffsetSpec.max_timestamp()), 1)


@feature("admin: create topic")
def create_topic():
    name = unused_name("made")
    new = NewTopic(name, 3, 1, config={"retention.ms": "12345"})
    result(ADMIN.create_topics([new], validate_only=True))
    assert not topic_exists(name)
    result(ADMIN.create_topics([new]))
    equal(configs_of(name)["retention.ms"], "12345")
    equal(len(ADMIN.list_topics(name, timeout=20).topics[name].partitions), 3)
    refused(lambda: result(ADMIN.create_topics([new])), KafkaError.TOPIC_ALREADY_EXISTS)
    odd = unused_name("made")
    for new, code in [
        (NewTopic(odd, 1, 1, config={"retention.ms": "x"}), KafkaError.INVALID_CONFIG),
        (NewTopic(odd, 1, 1, config={"no.such": "1"}), KafkaError.INVALID_CONFIG),
        (NewTopic(odd, 1, 3), KafkaError.INVALID_REPLICATION_FACTOR),
        (NewTopic("no/name", 1, 1), KafkaError.TOPIC_EXCEPTION),
    ]:
        refused(lambda: result(ADMIN.create_topics([new])), code)
    assert not topic_exists(odd)


def configs_of(name):
    found = result(ADMIN.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, name)]))
    return {config: entry.value for config, entry in found.items()}


@feature("admin: describe topic and its configs")
def describe_topic():
    name = topic(partitions=2, retention_ms=777)
    found = result(ADMIN.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, name)]))
    equal((found["retention.ms"].value, found["retention.ms"].is_default), ("777", False))
    equal((found["cleanup.policy"].value, found["cleanup.policy"].is_default), ("delete", True))
    missing = ConfigResource(ConfigResource.Type.TOPIC, unused_name("missing"))
    refused(lambda: result(ADMIN.describe_configs([missing])), KafkaError.UNKNOWN_TOPIC_OR_PART)


@feature("admin: alter configs")
def alter_configs():
    name = topic(retention_ms=777)

    def alter(key, value, operation):
        entry = ConfigEntry(key, value, incremental_operation=operation)
        resource = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=[entry])
        result(ADMIN.incremental_alter_configs([resource]))

    alter("segment.bytes", "1048576", AlterConfigOpType.SET)
    equal([configs_of(name)[key] for key in ("retention.ms", "segment.bytes")], ["777", "1048576"])
    alter("retention.ms", None, AlterConfigOpType.DELETE)
    equal([configs_of(name)[key] for key in ("retention.ms", "segment.bytes")], ["604800000", "1048576"])
    alter("cleanup.policy", "compact", AlterConfigOpType.APPEND)
    equal(set(configs_of(name)["cleanup.policy"].split(",")), {"delete", "compact"})
    refused(lambda: alter("retention.ms", "x", AlterConfigOpType.SET), KafkaError.INVALID_CONFIG)
    # The older way sets all at once: what is not named has its default again.
    resource = ConfigResource(ConfigResource.Type.TOPIC, name, set_config={"retention.ms": "888"})
    result(ADMIN.alter_configs([resource]))
    equal([configs_of(name)[key] for key in ("retention.ms", "segment.bytes")], ["888", "1073741824"])


@feature("admin: add partitions")
def add_partitions():
    name = topic(partitions=1)
    result(ADMIN.create_partitions([NewPartitions(name, 3)]))
    equal(len(ADMIN.list_topics(name, timeout=20).topics[name].partitions), 3)
    send(name, [b"x"], partition=2)
    fewer = [NewPartitions(name, 2)]
    refused(lambda: result(ADMIN.create_partitions(fewer)), KafkaError.INVALID_PARTITIONS)


@feature("admin: delete topic")
def delete_topic():
    name = topic()
    result(ADMIN.delete_topics([name]))
    assert not topic_exists(name)
    refused(lambda: result(ADMIN.delete_topics([name])), KafkaError.UNKNOWN_TOPIC_OR_PART)


@feature("admin: delete records")
def delete_records():
    name = topic()
    send(name, [b"0", b"1", b"2"])
    equal(result(ADMIN.delete_records([TopicPartition(name, 0, 2)])).low_watermark, 2)
    equal(native_values(name), [b"2"])
    beyond = [TopicPartition(name, 0, 9)]
    refused(lambda: result(ADMIN.delete_records(beyond)), KafkaError.OFFSET_OUT_OF_RANGE)


@feature("admin: list and describe groups")
def describe_groups():
    name, group = topic(partitions=2), unused_name("group")
    member = Member(group, name)
    wait_until(lambda: member.assigned == {0, 1}, "the member has all")
    listed = {found.group_id: found for found in ADMIN.list_consumer_groups().result(20).valid}
    equal(listed[group].state.name, "STABLE")
    described = result(ADMIN.describe_consumer_groups([group]))
    equal((described.state.name, described.partition_assignor), ("STABLE", "range"))
    (only,) = described.members
    equal({part.partition for part in only.assignment.topic_partitions}, {0, 1})
    member.leave()
    equal(result(ADMIN.describe_consumer_groups([group])).state.name, "EMPTY")


@feature("admin: offsets of a group")
def group_offsets():
    name, group = topic(partitions=2), unused_name("group")

    def ask(call, offsets):
        wanted = ConsumerGroupTopicPartitions(group, offsets)
        return {part.partition: part.offset for part in result(call([wanted])).topic_partitions}

    wanted = [TopicPartition(name, 0, 3), TopicPartition(name, 1, 5)]
    send(name, [b"x"] * 5)
    ask(ADMIN.alter_consumer_group_offsets, wanted)
    equal(ask(ADMIN.list_consumer_group_offsets, None), {0: 3, 1: 5})
    equal(ask(ADMIN.list_consumer_group_offsets, [TopicPartition(name, 1)]), {1: 5})


@feature("admin: delete group")
def delete_group():
    name, group = topic(), unused_name("group")
    member = Member(group, name)
    wait_until(lambda: member.assigned == {0}, "the member has all")
    refused(lambda: result(ADMIN.delete_consumer_groups([group])), KafkaError.NON_EMPTY_GROUP)
    member.leave()
    result(ADMIN.delete_consumer_groups([group]))
    listed = [found.group_id for found in ADMIN.list_consumer_groups().result(20).valid]
    assert group not in listed
    refused(lambda: result(ADMIN.delete_consumer_groups([group])), KafkaError.GROUP_ID_NOT_FOUND)


@feature("admin: describe cluster")
def describe_cluster():
    found = ADMIN.describe_cluster().result(20)
    equal([(node.id, f"{node.host}:{node.port}") for node in found.nodes], [(1, KAFKA)])
    equal(found.controller.id, 1)
    assert found.cluster_id


if __name__ == "__main__":
    main(f"{version()}, librdkafka {libversion()[0]}")
