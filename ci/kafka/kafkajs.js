// kafkajs, with codecs as plug-ins: it has gzip only.
//
//     feature("headers", async () => …)     what it throws is the failure; one line of JSON for each
'use strict'

const assert = require('assert/strict')
const { execFileSync } = require('child_process')
const fs = require('fs')
const path = require('path')
const { inspect } = require('util')
const kafkajs = require('kafkajs')
const lz4 = require('lz4js')
const zstd = require('@bokuweb/zstd-wasm')

const { Kafka, CompressionTypes, CompressionCodecs, ConfigResourceTypes, Partitioners, logLevel } = kafkajs
CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async encoder => Buffer.from(lz4.compress(encoder.buffer)),
  decompress: async buffer => Buffer.from(lz4.decompress(buffer)),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => Buffer.from(zstd.compress(encoder.buffer, 3)),
  decompress: async buffer => Buffer.from(zstd.decompress(buffer)),
})
const CODECS = { none: 'None', gzip: 'GZIP', snappy: 'Snappy', lz4: 'LZ4', zstd: 'ZSTD' }
// A byte of each value and no newline: `ringlog produce` sends lines.
const EVERY_BYTE = Buffer.from([...Array(256).keys()].filter(byte => byte !== 10))
const SECONDS_PER_FEATURE = 60

const env = process.env
const connectTo = broker => new Kafka({ brokers: [broker], logLevel: logLevel.NOTHING, retry: { retries: 3 } })
const kafka = connectTo(env.KAFKA_BOOTSTRAP)
const admin = kafka.admin()

// ---- topics of their own, and the native client

let names = 0
const unusedName = kind => `${env.KAFKA_CLIENT}-${kind}-${++names}`
const ringlog = (args, input = '') => execFileSync(env.RINGLOG_BIN, args, { input, stdio: 'pipe' })

function topic(partitions = 1, configs = {}) {
  const name = unusedName('topic')
  const settings = Object.entries(configs).map(([key, value]) => `--config=${key}=${value}`)
  ringlog(['topic', 'create', name, `--partitions=${partitions}`, ...settings])
  return name
}

const topicExists = name => ringlog(['topic', 'list']).toString().split(/\s/).includes(name)

function bytes(part, field) {
  const encoding = part[`${field}_encoding`] || 'utf8'
  return part[field] === null ? null : Buffer.from(part[field], encoding)
}

function nativeRecords(name) {
  const lines = ringlog(['consume', name, '--from=start', '--exit-at-end', '--jsonl']).toString().split('\n')
  return lines.filter(Boolean).map(line => JSON.parse(line))
}

const nativeValues = name => nativeRecords(name).map(record => bytes(record, 'value'))

// The batches of a topic of one partition, as `ringlog dump` shows them.
function storedBatches(name) {
  const id = ringlog(['topic', 'describe', name]).toString().split('\n')[0].split(' ').pop()
  const dir = path.join(env.RINGLOG_DATA_DIR, 'topics', id, '0')
  const logs = fs.readdirSync(dir).filter(file => file.endsWith('.log')).sort()
  const lines = logs.flatMap(file => ringlog(['dump', path.join(dir, file), '--output=json']).toString().split('\n'))
  return lines.filter(Boolean).map(line => JSON.parse(line)).filter(line => 'codec' in line)
}

// ---- producing and consuming

async function send(topic, messages, { acks = -1, codec = 'none', client = kafka, ...config } = {}) {
  const producer = client.producer({ createPartitioner: Partitioners.DefaultPartitioner, ...config })
  await producer.connect()
  try {
    const compression = CompressionTypes[CODECS[codec]]
    return await producer.send({ topic, acks, compression, messages: messages.map(inPartition0) })
  } finally {
    await producer.disconnect()
  }
}

const inPartition0 = message => ({ partition: 0, ...(message.value === undefined ? { value: message } : message) })

// Reads as a group of one until `count` messages are there, then commits; `prepare` may seek.
async function read(topic, count, { group = unusedName('group'), client = kafka, commit, prepare, ...config } = {}) {
  const consumer = client.consumer({ groupId: group, heartbeatInterval: 300, ...config })
  const messages = []
  await consumer.connect()
  try {
    await consumer.subscribe({ topics: [topic], fromBeginning: true })
    await new Promise((resolve, reject) => {
      consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error))
      consumer.run({
        autoCommit: false,
        eachMessage: async ({ message }) => {
          if (messages.length === count) return
          messages.push(message)
          if (messages.length < count) return
          if (commit) await consumer.commitOffsets(commit)
          resolve()
        },
      })
      if (prepare) prepare(consumer)
    })
  } finally {
    await consumer.disconnect()
  }
  return messages
}

const values = messages => messages.map(message => message.value)
const compressible = (count, text) =>
  [...Array(count).keys()].map(index => Buffer.from(`${text}${index} ${'ringlog '.repeat(100)}`))
const numbers = (start, end) => [...Array(end - start).keys()].map(index => Buffer.from(`${start + index}`))

async function refused(promise, type) {
  await assert.rejects(promise, error => {
    const cause = error.errors ? error.errors[0] : error.cause && !error.type ? error.cause : error
    assert.equal(cause.type, type, cause)
    return true
  })
}

async function until(condition, what, seconds = 30) {
  const deadline = Date.now() + 1000 * seconds
  while (!(await condition())) {
    assert(Date.now() < deadline, `not within ${seconds} s: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

// ---- features

const features = []
const feature = (name, run) => features.push({ name, run })

for (const codec of Object.keys(CODECS)) {
  feature(`codec ${codec}, acks 1 and all`, async () => {
    const name = topic()
    const sent = []
    for (const acks of [1, -1]) {
      const batch = compressible(20, `acks=${acks} `)
      await send(name, batch, { acks, codec })
      sent.push(...batch)
    }
    assert.deepEqual(values(await read(name, sent.length)), sent)
    assert.deepEqual(nativeValues(name), sent)
  })
}

feature('acks 0, with every codec', async () => {
  const name = topic()
  const sent = []
  for (const codec of Object.keys(CODECS)) {
    const batch = compressible(20, codec)
    await send(name, batch, { acks: 0, codec })
    sent.push(...batch)
    await until(() => nativeValues(name).length === sent.length, 'all arrived')
  }
  assert.deepEqual(values(await read(name, sent.length)), sent)
})

feature('keys and tombstones', async () => {
  const name = topic()
  const pairs = [['k', 'v'], [null, 'v'], ['', ''], ['k', null], [EVERY_BYTE, EVERY_BYTE]].map(pair =>
    pair.map(part => (part === null ? null : Buffer.from(part)))
  )
  await send(name, pairs.map(([key, value]) => ({ key, value })))
  assert.deepEqual((await read(name, 5)).map(({ key, value }) => [key, value]), pairs)
  assert.deepEqual(nativeRecords(name).map(record => [bytes(record, 'key'), bytes(record, 'value')]), pairs)
})

feature('headers', async () => {
  const name = topic()
  // It refuses to send a null value.
  const headers = { again: ['1', '2'], other: '', bytes: EVERY_BYTE }
  await send(name, [{ value: 'v', headers }])
  const wanted = { again: [Buffer.from('1'), Buffer.from('2')], other: Buffer.from(''), bytes: EVERY_BYTE }
  assert.deepEqual({ ...(await read(name, 1))[0].headers }, wanted)
  const native = nativeRecords(name)[0].headers.map(header => [header.key, bytes(header, 'value')])
  const flat = [['again', Buffer.from('1')], ['again', Buffer.from('2')], ['other', Buffer.from('')], ['bytes', EVERY_BYTE]]
  assert.deepEqual(native, flat)
})

feature('timestamps', async () => {
  const name = topic()
  const wanted = ['1700000000123', '1700000000001', '1600000000999']
  await send(name, wanted.map(timestamp => ({ value: 'v', timestamp })))
  assert.deepEqual((await read(name, 3)).map(message => message.timestamp), wanted)
  assert.deepEqual(nativeRecords(name).map(record => `${record.timestamp}`), wanted)
})

// Its lock lets one request at a time go to a broker, and numbers what is not awaited in an order of its own.
feature('idempotent producer, 1 in flight', async () => {
  const name = topic()
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 5 })
  await producer.connect()
  const message = value => ({ topic: name, messages: [{ partition: 0, value }] })
  const sendOne = async value => ({ value, offset: Number((await producer.send(message(value)))[0].baseOffset) })
  const together = await Promise.all(numbers(0, 300).map(sendOne))
  const inTurn = []
  for (const value of numbers(300, 330)) inTurn.push(await sendOne(value))
  await producer.disconnect()
  // Each is where the broker said, ...
  const placed = []
  for (const { value, offset } of [...together, ...inTurn]) placed[offset] = value
  assert.equal(placed.length, 330)
  assert.deepEqual(values(await read(name, 330)), placed)
  assert.deepEqual(nativeValues(name), placed)
  // ... what was awaited is in order, and all is in the order in which the client numbered it.
  assert.deepEqual(placed.slice(300), numbers(300, 330))
  for (const { producer_id, base_sequence, base_offset } of storedBatches(name)) {
    assert(producer_id >= 0)
    assert.equal(base_sequence, base_offset)
  }
})

async function member(groupId, topic) {
  const consumer = kafka.consumer({ groupId, heartbeatInterval: 300, maxWaitTimeInMs: 200 })
  const found = { assigned: [], leave: () => consumer.disconnect() }
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    found.assigned = payload.memberAssignment[topic] || []
  })
  await consumer.connect()
  await consumer.subscribe({ topics: [topic] })
  await consumer.run({ eachMessage: async () => {} })
  return found
}

feature('group: members join and leave', async () => {
  const [name, group] = [topic(4), unusedName('group')]
  const first = await member(group, name)
  await until(() => first.assigned.length === 4, 'the first member has all')
  const second = await member(group, name)
  await until(() => first.assigned.length === 2 && second.assigned.length === 2, 'half each')
  assert.deepEqual([...first.assigned, ...second.assigned].sort(), [0, 1, 2, 3])
  await second.leave()
  await until(() => first.assigned.length === 4, 'the first member has all again')
  await first.leave()
})

feature('group: goes on from its commit', async () => {
  const [name, group] = [topic(), unusedName('group')]
  await send(name, numbers(0, 10))
  for (const start of [0, 4, 8]) {
    const commit = [{ topic: name, partition: 0, offset: `${start + 4}` }]
    const found = await read(name, 2, { group, commit })
    assert.deepEqual(values(found), numbers(start, start + 2))
  }
})

feature('seek by offset', async () => {
  const name = topic()
  await send(name, numbers(0, 10))
  const prepare = consumer => consumer.seek({ topic: name, partition: 0, offset: '7' })
  assert.deepEqual(values(await read(name, 3, { prepare })), numbers(7, 10))
})

feature('seek by time', async () => {
  const name = topic()
  const base = 1_700_000_000_000
  await send(name, numbers(0, 10).map((value, index) => ({ value, timestamp: `${base + 1000 * index}` })))
  const at = async time => (await admin.fetchTopicOffsetsByTimestamp(name, time))[0].offset
  assert.deepEqual([await at(base - 1), await at(base + 4000), await at(base + 4001)], ['0', '4', '5'])
  assert.equal(await at(base + 9001), '10')
})

feature('pause and resume', async () => {
  const name = topic(2)
  const seen = []
  const consumer = kafka.consumer({ groupId: unusedName('group') })
  await consumer.connect()
  await consumer.subscribe({ topics: [name], fromBeginning: true })
  consumer.on(consumer.events.GROUP_JOIN, () => consumer.pause([{ topic: name, partitions: [0] }]))
  await consumer.run({ eachMessage: async ({ message }) => { seen.push(`${message.value}`) } })
  await send(name, [{ partition: 0, value: 'paused' }, { partition: 1, value: 'other' }])
  await until(() => seen.length > 0, 'the other partition')
  await new Promise(resolve => setTimeout(resolve, 500))
  assert.deepEqual(seen, ['other'])
  consumer.resume([{ topic: name, partitions: [0] }])
  await until(() => seen.length === 2, 'the paused partition')
  await consumer.disconnect()
})

feature('isolation.level=read_committed', async () => {
  const name = topic()
  await send(name, numbers(0, 2))
  assert.deepEqual(values(await read(name, 2, { readUncommitted: false })), numbers(0, 2))
})

feature('message too large', async () => {
  const name = topic(1, { 'max.message.bytes': 2000 })
  await refused(send(name, [Buffer.alloc(5000)]), 'MESSAGE_TOO_LARGE')
  await send(name, ['small'])
  assert.deepEqual(nativeValues(name), [Buffer.from('small')])
})

feature('auth is not asked for, and SASL refused in words', async () => {
  const sasl = { mechanism: 'plain', username: 'me', password: 'mine' }
  const asking = new Kafka({ brokers: [env.KAFKA_BOOTSTRAP], logLevel: logLevel.NOTHING, retry: { retries: 1 }, sasl })
  await assert.rejects(asking.admin().connect(), { name: 'KafkaJSServerDoesNotSupportApiKey' })
  const plain = connectTo(env.KAFKA_BOOTSTRAP).admin()
  await plain.connect()
  await plain.disconnect()
})

feature('unknown topic', async () => {
  const name = unusedName('missing')
  await refused(send(name, ['x']), 'UNKNOWN_TOPIC_OR_PARTITION')
  await refused(read(name, 1), 'UNKNOWN_TOPIC_OR_PARTITION')
  assert(!topicExists(name))
})

feature('unknown topic is created (kafka.auto_create_topics)', async () => {
  const client = connectTo(env.KAFKA_AUTO_CREATE_BOOTSTRAP)
  const name = unusedName('made')
  await send(name, ['x'], { client })
  assert.deepEqual(values(await read(name, 1, { client })), [Buffer.from('x')])
})

feature('reads what ringlog produces', async () => {
  const name = topic()
  const sent = []
  for (const codec of Object.keys(CODECS)) {
    const batch = [EVERY_BYTE, ...compressible(20, codec)]
    const lines = Buffer.concat(batch.flatMap(value => [Buffer.from('key='), value, Buffer.from('\n')]))
    const headers = ['--header=h=1', '--header=h=2']
    ringlog(['produce', name, '--key-separator==', ...headers, `--compression=${codec}`], lines)
    sent.push(...batch)
  }
  const found = await read(name, sent.length)
  assert.deepEqual(values(found), sent)
  const wanted = { h: [Buffer.from('1'), Buffer.from('2')] }
  assert(found.every(message => `${message.key}` === 'key'))
  found.forEach(message => assert.deepEqual({ ...message.headers }, wanted))
})

feature('list topics', async () => {
  const name = topic(3)
  assert((await admin.listTopics()).includes(name))
  assert.equal(await partitionsOf(name), 3)
})

feature('offsets of a partition', async () => {
  const name = topic()
  await send(name, numbers(0, 3))
  const [{ low, high }] = await admin.fetchTopicOffsets(name)
  assert.deepEqual([low, high], ['0', '3'])
})

async function partitionsOf(name) {
  const { topics } = await admin.fetchTopicMetadata({ topics: [name] })
  return topics[0].partitions.length
}

async function configsOf(name) {
  const resources = [{ type: ConfigResourceTypes.TOPIC, name }]
  const { resources: [found] } = await admin.describeConfigs({ resources, includeSynonyms: false })
  return Object.fromEntries(found.configEntries.map(entry => [entry.configName, entry]))
}

feature('admin: create topic', async () => {
  const name = unusedName('made')
  const configEntries = [{ name: 'retention.ms', value: '12345' }]
  const topics = [{ topic: name, numPartitions: 3, replicationFactor: 1, configEntries }]
  await admin.createTopics({ topics, validateOnly: true, waitForLeaders: false })
  assert(!topicExists(name))
  assert.equal(await admin.createTopics({ topics }), true)
  assert.equal((await configsOf(name))['retention.ms'].configValue, '12345')
  assert.equal(await partitionsOf(name), 3)
  // That it exists is told by `false`.
  assert.equal(await admin.createTopics({ topics }), false)
  const odd = unusedName('made')
  const wrong = [{ name: 'retention.ms', value: 'x' }]
  await refused(admin.createTopics({ topics: [{ topic: odd, configEntries: wrong }] }), 'INVALID_CONFIG')
  const three = [{ topic: odd, replicationFactor: 3 }]
  await refused(admin.createTopics({ topics: three }), 'INVALID_REPLICATION_FACTOR')
  assert(!topicExists(odd))
})

feature('admin: describe topic and its configs', async () => {
  const name = topic(2, { 'retention.ms': 777 })
  const configs = await configsOf(name)
  assert.deepEqual([configs['retention.ms'].configValue, configs['retention.ms'].isDefault], ['777', false])
  assert.deepEqual([configs['cleanup.policy'].configValue, configs['cleanup.policy'].isDefault], ['delete', true])
  assert.equal(await partitionsOf(name), 2)
})

feature('admin: alter configs', async () => {
  const name = topic(1, { 'retention.ms': 777 })
  const alter = value =>
    admin.alterConfigs({
      validateOnly: false,
      resources: [{ type: ConfigResourceTypes.TOPIC, name, configEntries: [{ name: 'segment.bytes', value }] }],
    })
  await alter('1048576')
  const configs = await configsOf(name)
  // What is not named has its default again.
  assert.equal(configs['segment.bytes'].configValue, '1048576')
  assert.equal(configs['retention.ms'].configValue, '604800000')
  await refused(alter('x'), 'INVALID_CONFIG')
})

feature('admin: add partitions', async () => {
  const name = topic()
  await admin.createPartitions({ topicPartitions: [{ topic: name, count: 3 }] })
  assert.equal(await partitionsOf(name), 3)
  await send(name, [{ partition: 2, value: 'x' }])
  await refused(admin.createPartitions({ topicPartitions: [{ topic: name, count: 2 }] }), 'INVALID_PARTITIONS')
})

feature('admin: delete topic', async () => {
  const name = topic()
  await admin.deleteTopics({ topics: [name] })
  assert(!topicExists(name))
  await refused(admin.deleteTopics({ topics: [name] }), 'UNKNOWN_TOPIC_OR_PARTITION')
})

feature('admin: delete records', async () => {
  const name = topic()
  await send(name, numbers(0, 3))
  // It must have seen the topic before.
  await admin.fetchTopicOffsets(name)
  await admin.deleteTopicRecords({ topic: name, partitions: [{ partition: 0, offset: '2' }] })
  assert.deepEqual(nativeValues(name), numbers(2, 3))
})

feature('admin: list and describe groups', async () => {
  const [name, group] = [topic(2), unusedName('group')]
  const one = await member(group, name)
  await until(() => one.assigned.length === 2, 'the member has all')
  const { groups } = await admin.listGroups()
  assert.equal(groups.find(found => found.groupId === group).protocolType, 'consumer')
  const describe = async () => (await admin.describeGroups([group])).groups[0]
  const found = await describe()
  assert.deepEqual([found.state, found.protocol, found.members.length], ['Stable', 'RoundRobinAssigner', 1])
  await one.leave()
  assert.equal((await describe()).state, 'Empty')
})

feature('admin: offsets of a group', async () => {
  const [name, groupId] = [topic(2), unusedName('group')]
  await send(name, numbers(0, 5))
  const partitions = [{ partition: 0, offset: '3' }, { partition: 1, offset: '5' }]
  await admin.setOffsets({ groupId, topic: name, partitions })
  const offsets = async () => {
    const [found] = await admin.fetchOffsets({ groupId, topics: [name] })
    return found.partitions.map(part => part.offset).sort()
  }
  assert.deepEqual(await offsets(), ['3', '5'])
  await admin.resetOffsets({ groupId, topic: name, earliest: true })
  assert.deepEqual(await offsets(), ['0', '0'])
})

feature('admin: delete group', async () => {
  const [name, group] = [topic(), unusedName('group')]
  const one = await member(group, name)
  await until(() => one.assigned.length === 1, 'the member has all')
  const groupError = type => error => error.groups[0].error.type === type
  await assert.rejects(admin.deleteGroups([group]), groupError('NON_EMPTY_GROUP'))
  await one.leave()
  await admin.deleteGroups([group])
  const { groups } = await admin.listGroups()
  assert(!groups.some(found => found.groupId === group))
  await assert.rejects(admin.deleteGroups([group]), groupError('GROUP_ID_NOT_FOUND'))
})

feature('admin: describe cluster', async () => {
  const { brokers, controller, clusterId } = await admin.describeCluster()
  assert.deepEqual(brokers.map(({ nodeId, host, port }) => [nodeId, `${host}:${port}`]), [[1, env.KAFKA_BOOTSTRAP]])
  assert.equal(controller, 1)
  assert(clusterId)
})

async function main() {
  const say = line => console.log(JSON.stringify(line))
  say({ version: require('kafkajs/package.json').version })
  await zstd.init()
  await admin.connect()
  for (const { name, run } of features) {
    if (process.argv[2] && !name.includes(process.argv[2])) continue
    const started = Date.now()
    let failure = null
    let timer
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`not done within ${SECONDS_PER_FEATURE} s`)), 1000 * SECONDS_PER_FEATURE)
    })
    await Promise.race([run(), late]).catch(error => (failure = inspect(error)))
    clearTimeout(timer)
    say({ feature: name, failure, seconds: Math.round((Date.now() - started) / 100) / 10 })
  }
  await admin.disconnect()
  process.exit(0)
}

main()
