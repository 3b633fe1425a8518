"""kafka-python: the newest, and 2.3.2, whose requests and admin calls are older."""

import threading
import uuid

import kafka
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition, errors
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic

from harness import *

NEW = not kafka.__version__.startswith("2.")


def send(topic, records, partition=0, bootstrap=KAFKA, **config):
    """Sends records (dicts of send's arguments, or values) and waits until all are delivered."""
    producer = KafkaProducer(bootstrap_servers=bootstrap, **{"linger_ms": 5, **config})
    try:
        sent = [
            producer.send(topic, partition=partition, **(record if isinstance(record, dict) else {"value": record}))
            for record in records
        ]
        for future in sent:
            future.get(timeout=20)
    finally:
        producer.close(timeout=5)


def consumer(*topics, bootstrap=KAFKA, **config):
    return KafkaConsumer(
        *topics,
        bootstrap_servers=bootstrap,
        **{"enable_auto_commit": False, "auto_offset_reset": "earliest", **config},
    )


def take(consumer, count, seconds=30):
    """The next records, at least `count`."""
    records = []
    deadline = time.monotonic() + seconds
    while len(records) < count:
        assert time.monotonic() < deadline, f"{len(records)} of {count} records within {seconds} s"
        for of_partition in consumer.poll(timeout_ms=100).values():
            records += of_partition
    return records


def read(topic, count, partition=0, **config):
    reader = consumer(**config)
    reader.assign([TopicPartition(topic, partition)])
    reader.seek_to_beginning()
    records = take(reader, count)
    reader.close()
    return records


def values(records):
    return [record.value for record in records]


def refused(call, *expected):
    try:
        call()
    except expected:
        pass
    else:
        names = " or ".join(error.__name__ for error in expected)
        raise AssertionError(f"it was not refused with {names}")


def check_codec(codec):
    name, sent = topic(), []
    kind = None if codec == "none" else codec
    for acks in [1, "all"]:
        batch = compressible(20, f"acks={acks} ")
        send(name, batch, acks=acks, compression_type=kind, enable_idempotence=False)
        sent += batch
        equal(values(read(name, len(sent))), sent)
    equal(stored_codecs(name), {codec})
    equal(native_values(name), sent)


for codec in CODECS:
    feature(f"codec {codec}, acks 1 and all")(lambda codec=codec: check_codec(codec))


# 2.3.2 does not send such a request before the next one that has a response.
if NEW:

    @feature("acks 0, with every codec")
    def acks_0():
        name, sent = topic(), []
        for codec in CODECS:
            batch = compressible(20, codec)
            kind = None if codec == "none" else codec
            send(name, batch, acks=0, compression_type=kind, enable_idempotence=False)
            sent += batch
            equal(values(read(name, len(sent))), sent)


@feature("keys and tombstones")
def keys_and_tombstones():
    name = topic()
    pairs = [(b"k", b"v"), (None, b"v"), (b"", b""), (b"k", None), (EVERY_BYTE, EVERY_BYTE)]
    send(name, [{"key": key, "value": value} for key, value in pairs])
    equal([(record.key, record.value) for record in read(name, len(pairs))], pairs)
    equal([record[:2] for record in native_records(name)], pairs)


@feature("headers")
def headers():
    name = topic()
    # It refuses to send a null value.
    wanted = [("again", b"1"), ("other", b""), ("again", b"2"), ("bytes", EVERY_BYTE)]
    send(name, [{"value": b"v", "headers": wanted}])
    equal(list(read(name, 1)[0].headers), wanted)
    equal(native_records(name)[0][2], wanted)


@feature("timestamps")
def timestamps():
    name = topic()
    wanted = [1_700_000_000_123, 1_700_000_000_001, 1_600_000_000_999]
    send(name, [{"value": b"v", "timestamp_ms": timestamp} for timestamp in wanted])
    found = [(record.timestamp, record.timestamp_type) for record in read(name, 3)]
    equal(found, [(timestamp, 0) for timestamp in wanted])
    equal([record[3] for record in native_records(name)], wanted)


IN_FLIGHT = 5 if NEW else 1


@feature(f"idempotent producer, {IN_FLIGHT} in flight")
def idempotent_producer():
    name = topic()
    sent = [b"%d" % index for index in range(3000)]
    in_flight = {"enable_idempotence": True, "max_in_flight_requests_per_connection": IN_FLIGHT}
    send(name, sent, acks="all", batch_size=500, **in_flight)
    equal(values(read(name, len(sent))), sent)
    batches = stored_batches(name)
    assert len(batches) > 50 and all(batch["producer_id"] >= 0 for batch in batches), batches[:3]


class Member(threading.Thread):
    """A member of a group, that polls until it is told to leave."""

    def __init__(self, group, topic):
        super().__init__(daemon=True)
        self.consumer = consumer(
            topic, group_id=group, session_timeout_ms=10_000, heartbeat_interval_ms=300
        )
        self.assigned, self.leaving = set(), False
        self.start()

    def run(self):
        while not self.leaving:
            self.consumer.poll(timeout_ms=50)
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
    part = TopicPartition(name, 0)
    send(name, [b"%d" % index for index in range(10)])
    for start in [0, 4, 8]:
        member = consumer(name, group_id=group, max_poll_records=4)
        equal(values(take(member, 2)), [b"%d" % index for index in range(start, min(start + 4, 10))])
        member.commit({part: OffsetAndMetadata(min(start + 4, 10), "noted", -1)})
        equal(member.committed(part), min(start + 4, 10))
        equal(member.committed(part, metadata=True).metadata, "noted")
        member.close()


@feature("seek by offset")
def seek_by_offset():
    name = topic()
    sent = [b"%d" % index for index in range(10)]
    send(name, sent)
    part, reader = TopicPartition(name, 0), consumer()
    reader.assign([part])
    equal(values(take(reader, 10)), sent)
    reader.seek(part, 7)
    equal(values(take(reader, 3)), sent[7:])
    equal((reader.beginning_offsets([part])[part], reader.end_offsets([part])[part]), (0, 10))
    reader.close()


@feature("seek by time")
def seek_by_time():
    name, base = topic(), 1_700_000_000_000
    send(name, [{"value": b"%d" % index, "timestamp_ms": base + 1000 * index} for index in range(10)])
    part, reader = TopicPartition(name, 0), consumer()

    def at(timestamp):
        found = reader.offsets_for_times({part: timestamp})[part]
        return found and found.offset

    equal([at(base - 1), at(base + 4000), at(base + 4001), at(base + 9001)], [0, 4, 5, None])
    reader.assign([part])
    reader.seek(part, at(base + 4001))
    equal(values(take(reader, 5))[:2], [b"5", b"6"])
    reader.close()


@feature("pause and resume")
def pause_and_resume():
    name = topic(partitions=2)
    reader = consumer()
    paused, other = TopicPartition(name, 0), TopicPartition(name, 1)
    reader.assign([paused, other])
    reader.pause(paused)
    send(name, [b"paused"], partition=0)
    send(name, [b"other"], partition=1)
    equal(values(take(reader, 1)), [b"other"])
    equal(reader.poll(timeout_ms=500), {})
    reader.resume(paused)
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
    refused(lambda: send(name, [b"x" * 5000]), errors.MessageSizeTooLargeError)
    send(name, [b"small"])
    equal(native_values(name), [b"small"])


@feature("auth is not asked for, and SASL refused in words")
def no_auth():
    sasl = {"sasl_mechanism": "PLAIN", "sasl_plain_username": "me", "sasl_plain_password": "mine"}
    connect = lambda **config: KafkaAdminClient(bootstrap_servers=KAFKA, **config)
    # 2.3.2 says that SaslHandshake is missing if the broker's versions come within a call of it. If they
    # come between two of its calls it logs that, waits for 2 s, and complains of the connection it lacks.
    unsupported = [errors.IncompatibleBrokerVersion]
    if not NEW:
        unsupported.append(errors.UnsupportedVersionError)
    refused(lambda: connect(security_protocol="SASL_PLAINTEXT", **sasl), *unsupported)
    connect(security_protocol="PLAINTEXT").close()


@feature("unknown topic")
def unknown_topic():
    name = unused_name("missing")
    refused(lambda: send(name, [b"x"], max_block_ms=1000), errors.KafkaTimeoutError)
    reader = consumer()
    assert not reader.partitions_for_topic(name)
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
    found = [(record.key, record.value, list(record.headers)) for record in read(name, len(sent))]
    equal(found, [(b"key", value, [("h", b"1"), ("h", b"2")]) for value in sent])
    equal(stored_codecs(name), set(CODECS))


@feature("list topics")
def list_topics():
    name, reader = topic(partitions=3), consumer()
    assert name in reader.topics()
    equal(reader.partitions_for_topic(name), {0, 1, 2})
    reader.close()


ADMIN = KafkaAdminClient(bootstrap_servers=KAFKA)


if NEW:

    @feature("offsets of a partition")
    def partition_offsets():
        name, base = topic(), 1_700_000_000_000
        send(name, [{"value": b"v", "timestamp_ms": base + offset} for offset in [5, 9, 7]])
        part = TopicPartition(name, 0)

        def offset(spec):
            return ADMIN.list_partition_offsets({part: spec})[part].offset

        specs = [OffsetSpec.EARLIEST, OffsetSpec.LATEST, OffsetTimestamp(base + 6), OffsetSpec.MAX_TIMESTAMP]
        equal([offset(spec) for spec in specs], [0, 3, 1, 1])


def partitions_of(name):
    (found,) = ADMIN.describe_topics([name])
    equal(found["error_code"], 0)
    return len(found["partitions"])


@feature("admin: create topic")
def create_topic():
    name = unused_name("made")
    new = NewTopic(name, 3, 1, topic_configs={"retention.ms": "12345"})
    ADMIN.create_topics([new], validate_only=True)
    assert not topic_exists(name)
    ADMIN.create_topics([new])
    equal((partitions_of(name), configs_of(name)["retention.ms"]), (3, "12345"))
    refused(lambda: ADMIN.create_topics([new]), errors.TopicAlreadyExistsError)
    odd = unused_name("made")
    for new, error in [
        (NewTopic(odd, 1, 1, topic_configs={"retention.ms": "x"}), errors.InvalidConfigurationError),
        (NewTopic(odd, 1, 3), errors.InvalidReplicationFactorError),
        (NewTopic("no/name", 1, 1), errors.InvalidTopicError),
    ]:
        refused(lambda: ADMIN.create_topics([new]), error)
    assert not topic_exists(odd)


def configs_of(name):
    if NEW:
        resource = ConfigResource(ConfigResourceType.TOPIC, name)
        found = ADMIN.describe_configs([resource], config_filter="all")["topic"][name]
        return {config: entry["value"] for config, entry in found.items()}
    (response,) = ADMIN.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
    (resource,) = response.resources
    equal(resource[0], 0)
    return {entry[0]: entry[1] for entry in resource[4]}


@feature("admin: describe topic and its configs")
def describe_topic():
    name = topic(partitions=2, retention_ms=777)
    configs = configs_of(name)
    equal((partitions_of(name), configs["retention.ms"], configs["cleanup.policy"]), (2, "777", "delete"))
    equal(ADMIN.describe_topics([unused_name("missing")])[0]["error_code"], 3)


@feature("admin: alter configs")
def alter_configs():
    name = topic(retention_ms=777)

    def alter(configs, **options):
        ADMIN.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs)], **options)
        return [configs_of(name)[key] for key in ("retention.ms", "segment.bytes")]

    if NEW:
        equal(alter({"segment.bytes": "1048576"}), ["777", "1048576"])
        equal(alter({"retention.ms": ("DELETE", None)}), ["604800000", "1048576"])
    # The older way sets all at once: what is not named has its default again.
    options = {"incremental": False} if NEW else {}
    if not NEW:
        equal(alter({"retention.ms": "888"}), ["888", "1073741824"])
    equal(alter({"segment.bytes": "2097152"}, **options), ["604800000", "2097152"])


@feature("admin: add partitions")
def add_partitions():
    name = topic(partitions=1)
    ADMIN.create_partitions({name: NewPartitions(3)})
    equal(partitions_of(name), 3)
    send(name, [b"x"], partition=2)
    refused(lambda: ADMIN.create_partitions({name: NewPartitions(2)}), errors.InvalidPartitionsError)


@feature("admin: delete topic")
def delete_topic():
    name = topic()
    ADMIN.delete_topics([name])
    assert not topic_exists(name)
    refused(lambda: ADMIN.delete_topics([name]), errors.UnknownTopicOrPartitionError)
    if NEW:
        name = topic()
        ADMIN.delete_topics([uuid.UUID(str(ADMIN.describe_topics([name])[0]["topic_id"]))])
        assert not topic_exists(name)


@feature("admin: delete records")
def delete_records():
    name = topic()
    part = TopicPartition(name, 0)
    send(name, [b"0", b"1", b"2"])
    equal(ADMIN.delete_records({part: 2})[part]["low_watermark"], 2)
    equal(native_values(name), [b"2"])
    refused(lambda: ADMIN.delete_records({part: 9}), errors.OffsetOutOfRangeError)


def list_groups():
    if NEW:
        return {found["group_id"]: found["protocol_type"] for found in ADMIN.list_groups()}
    return dict(ADMIN.list_consumer_groups())


def describe_group(group):
    """Its state, its protocol, and what its members have."""
    if NEW:
        found = ADMIN.describe_groups([group])[group]
        state, protocol, members = (found[key] for key in ("group_state", "protocol_data", "members"))
        assignments = [member["member_assignment"]["assigned_partitions"] for member in members]
        return state, protocol, [part for topics in assignments for of in topics for part in of["partitions"]]
    (found,) = ADMIN.describe_consumer_groups([group])
    assignments = [member.member_assignment.assignment for member in found.members]
    return found.state, found.protocol, [part for topics in assignments for _, parts in topics for part in parts]


@feature("admin: list and describe groups")
def describe_groups():
    name, group = topic(partitions=2), unused_name("group")
    member = Member(group, name)
    wait_until(lambda: member.assigned == {0, 1}, "the member has all")
    equal(list_groups()[group], "consumer")
    state, protocol, assigned = describe_group(group)
    equal((state, protocol, sorted(assigned)), ("Stable", "range", [0, 1]))
    member.leave()
    equal(describe_group(group)[0], "Empty")


@feature("admin: offsets of a group")
def group_offsets():
    name, group = topic(partitions=2), unused_name("group")
    parts = [TopicPartition(name, 0), TopicPartition(name, 1)]
    wanted = {parts[0]: OffsetAndMetadata(3, "", -1), parts[1]: OffsetAndMetadata(5, "", -1)}
    if not NEW:
        member = consumer(group_id=group)
        member.assign(parts)
        member.commit(wanted)
        member.close()
        equal(ADMIN.list_consumer_group_offsets(group), wanted)
        equal(ADMIN.list_consumer_group_offsets(group, partitions=parts[1:]), {parts[1]: wanted[parts[1]]})
        return
    equal(set(ADMIN.alter_group_offsets(group, wanted).values()), {errors.NoError})
    equal(ADMIN.list_group_offsets(group)[group], wanted)
    equal(ADMIN.delete_group_offsets(group, parts[:1]), {parts[0]: errors.NoError})
    equal(ADMIN.list_group_offsets(group)[group], {parts[1]: wanted[parts[1]]})
    found = ADMIN.reset_group_offsets(group, {parts[1]: OffsetSpec.EARLIEST})
    equal(found[parts[1]]["offset"], 0)


def delete_group_once(group):
    result = dict(ADMIN.delete_groups([group]) if NEW else ADMIN.delete_consumer_groups([group]))[group]
    return result if isinstance(result, str) else result.__name__


@feature("admin: delete group")
def delete_group():
    name, group = topic(), unused_name("group")
    member = Member(group, name)
    wait_until(lambda: member.assigned == {0}, "the member has all")
    equal(delete_group_once(group), "NonEmptyGroupError")
    member.leave()
    assert delete_group_once(group) in ("OK", "NoError")
    assert group not in list_groups()
    equal(delete_group_once(group), "GroupIdNotFoundError")


@feature("admin: describe cluster")
def describe_cluster():
    found = ADMIN.describe_cluster()
    (broker,) = found["brokers"]
    equal((f"{broker['host']}:{broker['port']}", found["controller_id"]), (KAFKA, 1))
    assert found["cluster_id"]


if NEW:
    from kafka.admin import OffsetSpec, OffsetTimestamp

    @feature("admin: describe log directories")
    def describe_log_dirs():
        name = topic()
        send(name, [b"x" * 1000])
        (broker,) = ADMIN.describe_log_dirs()
        sizes = {
            found["name"]: found["partitions"][0]["partition_size"]
            for log_dir in broker["log_dirs"]
            for found in log_dir["topics"]
        }
        assert 1000 <= sizes[name], sizes

    @feature("admin: list reassignments")
    def list_reassignments():
        equal(ADMIN.list_partition_reassignments(), {})


if __name__ == "__main__":
    main(kafka.__version__)
    ADMIN.close()
