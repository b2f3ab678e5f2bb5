// node clients.js MODULE: what kafkajs, as MODULE has it, can do against one broker.
const assert = require('assert')
const fs = require('fs')

const module_ = process.argv[2]
const { Kafka, logLevel, CompressionTypes, CompressionCodecs, AssignerProtocol, ConfigResourceTypes, PartitionAssigners, Partitioners, AclResourceTypes, AclOperationTypes,
  AclPermissionTypes, ResourcePatternTypes } = require(module_)
const version = require(`${module_}/package.json`).version
// Its codecs for lz4 and zstd are native code.
CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')

const three = Boolean(process.env.COMPAT_THREE) // brokers, of which one after the other is restarted
const smoke = Boolean(process.env.SMOKE)
const records = smoke ? 300 : 3000
const kafka = new Kafka({ clientId: 'clients', brokers: process.env.BROKERS.split(','), logLevel: logLevel.NOTHING, retry: { initialRetryTime: 30, retries: 12 } })
const admin = patient(kafka.admin())
const named = (name) => `js-${process.pid}-${name}`
const numbered = (prefix, n) => Array.from({ length: n }, (_, i) => `${prefix}${i}`)
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

async function until(what, condition, seconds = 40) {
  for (const end = Date.now() + seconds * 1000; !(await condition());) {
    assert(Date.now() < end, `${what}: not within ${seconds} s`)
    await pause(20)
  }
}

// An administration client that repeats, where brokers are restarted, what kafkajs does not: a call whose connection breaks, or whose
// broker does not know yet what another one answered. In a repetition, the errors of `done` say that the change was made before.
function patient(client) {
  if (!three) return client
  const done = { createPartitions: 'INVALID_PARTITIONS', deleteTopics: 'UNKNOWN_TOPIC_OR_PARTITION', deleteGroups: 'GROUP_ID_NOT_FOUND' }
  const passes = (e) => e.retriable || (e.name || '').startsWith('KafkaJSConnection') || (e.errors || [e.cause]).some((inner) => inner && passes(inner))
  return new Proxy(client, {
    get: (target, name) => typeof target[name] !== 'function' ? target[name] : async (...args) => {
      for (let repeated = false, end = Date.now() + 40000; ; repeated = true) {
        try { return await target[name](...args) } catch (e) {
          if (repeated && done[name] && e.type === done[name]) return
          if (!passes(e) || Date.now() > end) throw e
          await pause(100)
        }
      }
    },
  })
}

async function create(name, numPartitions = 1, configEntries = []) {
  const topic = named(name)
  const created = await admin.createTopics({ waitForLeaders: true, topics: [{ topic, numPartitions, replicationFactor: three ? 3 : 1, configEntries }] })
  assert(created || three) // an answer is lost with its broker, and the request repeated: then the topic is there already
  return topic
}

async function withProducer(options, use) {
  // Where brokers are restarted, one that is not idempotent may write twice.
  const producer = kafka.producer({ allowAutoTopicCreation: false, ...(three && { idempotent: true, maxInFlightRequests: 1 }), ...options })
  await producer.connect()
  try { return await use(producer) } finally { await producer.disconnect() }
}

const send = (topic, values, { partition, ...options } = {}) => withProducer(options, async (p) => {
  const messages = values.map((value) => ({ value, key: `k${value}`, partition, headers: { h: value, empty: '' } }))
  for (const together of await requests(topic, messages)) await p.send({ topic, compression: options.compression, messages: together })
})

// What is sent together. Where brokers are restarted that is of one partition: of several, kafkajs repeats only what went to brokers that have not answered,
// and one whose leadership moves to a broker that has (producer/sendMessages.js) is left out without a word.
async function requests(topic, messages) {
  if (!three) return [messages]
  const { topics: [{ partitions: partitionMetadata }] } = await admin.fetchTopicMetadata({ topics: [topic] })
  const partitioner = Partitioners.DefaultPartitioner()
  const of = partitionMetadata.map(() => [])
  for (const message of messages) {
    const partition = message.partition ?? partitioner({ topic, partitionMetadata, message })
    of[partition].push({ ...message, partition })
  }
  return of.filter((together) => together.length > 0)
}

// A member of a group, which notes what it gets.
async function join(group, topics, seen, { autoCommit, ...options } = {}) {
  const consumer = kafka.consumer({ groupId: named(group), maxWaitTimeInMs: 100, heartbeatInterval: 200, ...(three && { sessionTimeout: 3000 }), ...options })
  const member = { consumer, assigned: {}, joined: 0 }
  await consumer.connect()
  for (const topic of topics) await consumer.subscribe({ topic, fromBeginning: true })
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => { member.assigned = payload.memberAssignment; member.joined++ })
  await consumer.run({ autoCommit, eachMessage: async ({ topic, partition, message }) => { seen.push({ topic, partition, ...message, text: message.value === null ? null : message.value.toString() }) } })
  return member
}

// Each record, or each value, once where brokers are restarted: what is read before a commit is lost with its coordinator is read again.
const delivered = (seen, key = (r) => r.text) => three ? seen.filter((r, i) => seen.findIndex((before) => key(before) === key(r)) === i) : seen
const placed = (seen) => delivered(seen, (r) => `${r.partition} ${r.offset}`)

// How many records a topic has.
const written = async (topic) => (await admin.fetchTopicOffsets(topic)).reduce((sum, { high }) => sum + Number(high), 0)

// Reads count records as a new group, and shows that no other follows at once.
async function read(topic, count, options = {}) {
  const seen = []
  const { consumer } = await join(`reads-${topic}-${Math.random()}`, [topic], seen, options)
  await until(`${count} records of ${topic}`, () => placed(seen).length >= count)
  await pause(150)
  await consumer.disconnect()
  assert.strictEqual(placed(seen).length, count)
  return placed(seen)
}

async function codecs() {
  for (const name of ['None', 'GZIP', 'Snappy']) {
    const topic = await create(`codec-${name}`, 3)
    const sent = numbered(`${name}-`, records)
    await send(topic, sent, { compression: CompressionTypes[name], idempotent: false })
    const seen = await read(topic, three ? await written(topic) : records)
    // The records that were written again, where an answer was lost, are those that were there already.
    const once = delivered(seen)
    assert.deepStrictEqual(once.map((r) => r.text).sort(), sent.slice().sort(), name)
    for (let p = 0; p < 3; p++) {
      const of = seen.filter((r) => r.partition === p)
      assert.deepStrictEqual(of.map((r) => r.offset), of.map((_, i) => `${i}`), `offsets of partition ${p} with ${name}`)
      const texts = once.filter((r) => r.partition === p).map((r) => r.text)
      assert.deepStrictEqual(texts, sent.filter((v) => texts.includes(v)), `order in partition ${p} with ${name}`)
    }
    assert(seen.every((r) => r.key.toString() === `k${r.text}` && r.headers.h.toString() === r.text && r.headers.empty.length === 0), name)
  }
}

async function times() {
  const topic = await create('times')
  const many = version.startsWith('1.') ? '1' : ['1', '2'] // version 1 has no header twice
  const at = (i) => `${1234567890000 + i * 1000}`
  await withProducer({}, (p) => p.send({ topic, messages: [...Array(10).keys()].map((i) => ({ value: `${i}`, timestamp: at(i), headers: { many } })) }))
  await withProducer({}, (p) => p.send({ topic, acks: three ? -1 : 1, messages: [{ key: 'gone', value: null, timestamp: at(60) }] }))
  const seen = await read(topic, 11)
  assert.deepStrictEqual(seen.map((r) => r.timestamp), [...[...Array(10).keys()].map(at), at(60)])
  assert.deepStrictEqual([seen[10].key.toString(), seen[10].value], ['gone', null])
  assert.deepStrictEqual([seen[0].headers.many].flat().map(String), [many].flat())
  assert.deepStrictEqual((await admin.fetchTopicOffsetsByTimestamp(topic, 1234567893500)).map((o) => o.offset), ['4'])
}

async function large() {
  const [topic, small] = [await create('large', 1, [{ name: 'max.message.bytes', value: '6000000' }]), await create('too-large')]
  const value = Buffer.from(Array.from({ length: 5000000 }, (_, i) => (i * 7) % 251))
  await withProducer({}, async (p) => {
    await p.send({ topic, messages: [{ value }] })
    await assert.rejects(p.send({ topic: small, messages: [{ value }] }), (e) => e.type === 'MESSAGE_TOO_LARGE')
  })
  assert((await read(topic, 1, { maxBytesPerPartition: 1000 }))[0].value.equals(value), 'the large record came through changed')
}

async function rebalance() {
  const [topic, seen] = [await create('rebalance', 4), []]
  await send(topic, numbered('v', 100))
  const options = { partitionAssigners: [PartitionAssigners.roundRobin] }
  const a = await join('rebalance', [topic], seen, options)
  await until('one member reads all', () => delivered(seen).length >= 100)
  const b = await join('rebalance', [topic], seen, options)
  const of = (m) => m.assigned[topic] || []
  await until('two members share', () => of(a).length === 2 && of(b).length === 2)
  assert.deepStrictEqual([...of(a), ...of(b)].sort(), [0, 1, 2, 3])
  await send(topic, numbered('w', 100))
  await until('both read on', () => delivered(seen).length >= 200)
  const describe = async () => (await admin.describeGroups([named('rebalance')])).groups[0]
  // Where brokers are restarted, members join again when their coordinator was away.
  if (three) await until('a stable group', async () => (await describe()).state === 'Stable')
  const described = await describe()
  assert.deepStrictEqual([described.state, described.members.length, described.protocol], ['Stable', 2, 'RoundRobinAssigner'])
  const parts = described.members.map((m) => AssignerProtocol.MemberAssignment.decode(m.memberAssignment).assignment[topic].length)
  assert.deepStrictEqual(parts, [2, 2])
  await b.consumer.disconnect()
  await until('the one that is left takes over', () => of(a).length === 4)
  await send(topic, numbered('x', 20))
  await until('and reads on', () => delivered(seen).length >= 220)
  await a.consumer.disconnect()
  assert.deepStrictEqual(delivered(seen).map((r) => r.text).sort(), [...numbered('v', 100), ...numbered('w', 100), ...numbered('x', 20)].sort())
}

async function pattern() {
  const topics = [await create('pattern-one'), await create('pattern-two')]
  const seen = []
  for (const topic of topics) await send(topic, [topic])
  const { consumer } = await join('pattern', [new RegExp(`^${named('pattern')}-.*`)], seen)
  await until('records of both topics', () => delivered(seen).length >= 2)
  await consumer.disconnect()
  assert.deepStrictEqual(delivered(seen).map((r) => r.text).sort(), topics.sort())
}

async function seeks() {
  const [topic, seen] = [await create('seeks'), []]
  await send(topic, numbered('v', 100))
  const { consumer } = await join('seeks', [topic], seen)
  await until('all records', () => placed(seen).length >= 100)
  for (const [offset, expected] of [['42', 58], ['99', 1]]) {
    seen.length = 0
    consumer.seek({ topic, partition: 0, offset })
    await until(`records after a seek to ${offset}`, () => placed(seen).length >= expected)
    assert.deepStrictEqual(placed(seen).map((r) => r.text), numbered('v', 100).slice(offset))
  }
  consumer.pause([{ topic }])
  await send(topic, ['while paused'])
  await pause(300)
  assert.strictEqual(placed(seen).length, 1)
  consumer.resume([{ topic }])
  await until('the record after the pause', () => placed(seen).length === 2)
  await consumer.disconnect()
}

// Sets the offset of a new group to 7 and returns the group's name. The client does it as a member of the group, whose session lasts for
// 30 s, and does not see to it that the member leaves: where brokers are restarted, the group may have to be another one.
async function setOffset(topic) {
  for (let again = 0; ; again++) {
    const [name, groupId] = [`offsets-${again}`, named(`offsets-${again}`)]
    const [{ partitions: [{ offset }] }] = await admin.fetchOffsets({ groupId, topics: [topic] })
    assert.strictEqual(offset, '-1')
    await admin.setOffsets({ groupId, topic, partitions: [{ partition: 0, offset: '7' }] })
    const left = async () => (await admin.describeGroups([groupId])).groups[0].state === 'Empty'
    if (!three || again === 5) return name
    try { await until('the group is empty', left, 4) } catch { continue }
    return name
  }
}

async function offsets() {
  const [topic, seen] = [await create('offsets'), []]
  await send(topic, numbered('v', 10))
  const group = await setOffset(topic)
  const groupId = named(group)
  const committed = async () => (await admin.fetchOffsets({ groupId, topics: [topic] }))[0].partitions[0].offset
  assert.strictEqual(await committed(), '7')
  const { consumer } = await join(group, [topic], seen, { autoCommit: false })
  await until('the records from the committed offset', () => placed(seen).length >= 3)
  await consumer.commitOffsets([{ topic, partition: 0, offset: '9', metadata: 'a note' }])
  assert.deepStrictEqual((await admin.fetchOffsets({ groupId, topics: [topic] }))[0].partitions, [{ partition: 0, offset: '9', metadata: 'a note' }])
  await consumer.disconnect()
  assert.deepStrictEqual(placed(seen).map((r) => r.text), ['v7', 'v8', 'v9'])
  if (smoke) return
  await admin.resetOffsets({ groupId, topic, earliest: true })
  assert((await committed()) === '-2' || (await committed()) === '0') // it commits the name of the first offset
}

async function administration() {
  const topic = await create('admin', 1, [{ name: 'retention.ms', value: '7200000' }])
  assert.strictEqual(await admin.createTopics({ topics: [{ topic }] }), false)
  await assert.rejects(admin.createTopics({ topics: [{ topic: `${topic}-2`, replicationFactor: 7 }] }), (e) => e.name === 'KafkaJSAggregateError' || e.type === 'INVALID_REPLICATION_FACTOR')
  await admin.createPartitions({ topicPartitions: [{ topic, count: 3 }] })
  await until('three partitions', async () => (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length === 3)
  await admin.alterConfigs({ validateOnly: false, resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries: [{ name: 'segment.bytes', value: '2097152' }] }] })
  const configs = async () => {
    const { resources } = await admin.describeConfigs({ includeSynonyms: true, resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configNames: ['segment.bytes', 'retention.ms'] }] })
    return Object.fromEntries(resources[0].configEntries.map((e) => [e.configName, e.configValue]))
  }
  await until('altered configs', async () => { // the request replaces all the configs of the topic
    const { 'segment.bytes': bytes, 'retention.ms': ms } = await configs()
    return bytes === '2097152' && ms === '604800000'
  })
  const nodes = process.env.BROKERS.split(',').length
  await until('all brokers, one of them the controller', async () => {
    const { controller, brokers } = await admin.describeCluster()
    return brokers.length === nodes && brokers.some((b) => b.nodeId === controller)
  })
  await send(topic, numbered('v', 10), { partition: 2 })
  await admin.deleteTopicRecords({ topic, partitions: [{ partition: 2, offset: '4' }] })
  const [, , last] = (await admin.fetchTopicOffsets(topic)).sort((a, b) => a.partition - b.partition)
  assert.deepStrictEqual([last.low, last.high], ['4', '10'])
  assert.deepStrictEqual((await read(topic, 6)).map((r) => r.text), numbered('v', 10).slice(4))
  await assert.rejects(admin.describeAcls({ resourceType: AclResourceTypes.TOPIC, resourcePatternType: ResourcePatternTypes.ANY, operation: AclOperationTypes.ANY,
    permissionType: AclPermissionTypes.ANY }), (e) => e.type === 'SECURITY_DISABLED')
  if (admin.listPartitionReassignments) assert.deepStrictEqual((await admin.listPartitionReassignments({})).topics, [])
  await admin.deleteTopics({ topics: [topic] })
  await until('the deleted topic is gone', async () => !(await admin.listTopics()).includes(topic))
}

async function idempotence() {
  const topic = await create('idempotent', 2)
  const sent = numbered('v', records)
  await withProducer({ idempotent: true, maxInFlightRequests: 1 }, async (p) => {
    for (let i = 0; i < records; i += 50) {
      for (const messages of await requests(topic, sent.slice(i, i + 50).map((value) => ({ value })))) await p.send({ topic, messages })
    }
  })
  assert.deepStrictEqual((await read(topic, records)).map((r) => r.text).sort(), sent.sort())
}

async function transactions() {
  const [source, target] = [await create('tx-source'), await create('tx-target')]
  const groupId = named('tx')
  const producer = kafka.producer({ transactionalId: named('tx'), maxInFlightRequests: 1, idempotent: true })
  await producer.connect()
  for (const [end, name] of [['abort', 'lost-'], ['commit', 'kept-']]) {
    const transaction = await producer.transaction()
    for (const topic of [source, target]) await transaction.send({ topic, messages: numbered(name, 2).map((value) => ({ value, partition: 0 })) })
    await transaction[end]()
  }
  for (const topic of [source, target]) {
    assert.deepStrictEqual((await read(topic, 2)).map((r) => r.text), ['kept-0', 'kept-1'])
    assert.deepStrictEqual((await read(topic, 4, { readUncommitted: true })).map((r) => r.text), ['lost-0', 'lost-1', 'kept-0', 'kept-1'])
  }
  for (const [end, expected] of [['abort', '-1'], ['commit', '6']]) {
    const transaction = await producer.transaction()
    await transaction.send({ topic: target, messages: [{ value: 'again', partition: 0 }] })
    await transaction.sendOffsets({ consumerGroupId: groupId, topics: [{ topic: source, partitions: [{ partition: 0, offset: '6' }] }] })
    await transaction[end]()
    await until(`committed offset ${expected}`, async () => (await admin.fetchOffsets({ groupId, topics: [source] }))[0].partitions[0].offset === expected)
  }
  assert.deepStrictEqual((await read(target, 3)).map((r) => r.text), ['kept-0', 'kept-1', 'again'])
  const open = await producer.transaction()
  await open.send({ topic: target, messages: [{ value: 'of the first', partition: 0 }] })
  const second = kafka.producer({ transactionalId: named('tx'), maxInFlightRequests: 1, idempotent: true })
  await second.connect()
  const transaction = await second.transaction()
  await assert.rejects(open.commit())
  await transaction.send({ topic: target, messages: [{ value: 'of the second', partition: 0 }] })
  await transaction.commit()
  assert.deepStrictEqual((await read(target, 4)).map((r) => r.text), ['kept-0', 'kept-1', 'again', 'of the second'])
  await second.disconnect()
  await producer.disconnect()
}

let passed = 0
let failed = 0
function note(features, result) {
  if (process.env.COMPAT_RESULTS) fs.appendFileSync(process.env.COMPAT_RESULTS, features.map((f) => `kafkajs\t${version}\t${f}\t${result}\n`).join(''))
}

async function part(features, test) {
  const began = Date.now()
  try {
    await test()
    passed++
    note(features, 'pass')
    if (process.env.COMPAT_TIMES) console.log(`kafkajs ${version}: ${test.name} ${(Date.now() - began) / 1000} s`)
  } catch (e) {
    failed++
    note(features, 'fail')
    console.error(`kafkajs ${version}: ${test.name} FAILED`, e)
  }
}

async function main() {
  await admin.connect()
  await part(['produce', 'consume', 'compression', 'headers'], codecs)
  await part(['timestamps', 'offsets for times'], times)
  await part(['large messages'], large)
  await part(['groups'], rebalance)
  await part(['pattern'], pattern)
  await part(['seeks'], seeks)
  await part(['offsets'], offsets)
  await part(['admin'], administration)
  await part(['idempotence'], idempotence)
  await part(['transactions'], transactions)
  await admin.disconnect()
  console.log(`kafkajs: ${version}: ${passed} passed, ${failed} failed`)
  process.exit(failed ? 1 : 0)
}

main().catch((e) => { console.error(e); process.exit(1) })
