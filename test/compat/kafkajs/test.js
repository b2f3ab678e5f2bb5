// Drives the app as its users do: several terminals, one broker.
const assert = require('assert')
const { spawn, spawnSync } = require('child_process')
const { kafka } = require('./client')

const children = []

// start runs a script of the app and gathers the lines that it prints.
function start(script, ...args) {
  const child = spawn(process.execPath, [script, ...args], { cwd: __dirname, stdio: ['pipe', 'pipe', 'inherit'] })
  const process_ = { child, lines: [], waiting: [] }
  let rest = ''
  child.stdout.on('data', (data) => {
    const parts = (rest + data).split('\n')
    rest = parts.pop()
    process_.lines.push(...parts)
    process_.waiting = process_.waiting.filter((check) => !check())
  })
  children.push(process_)
  return process_
}

// until resolves when the condition on the lines holds, and fails after 30 s.
function until(p, what, condition) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${what}: not within 30 s; saw ${JSON.stringify(p.lines)}`)), 30000)
    const check = () => {
      if (!condition(p.lines)) return false
      clearTimeout(timer)
      resolve()
      return true
    }
    if (!check()) p.waiting.push(check)
  })
}

const three = Boolean(process.env.COMPAT_THREE) // brokers, of which one after the other is restarted: what was not committed when the coordinator went is read again
const once = (list) => three ? [...new Set(list)] : list
const events = (p) => once(p.lines.filter((l) => l.includes('[rider-updates]')))
const assignment = (p) => JSON.parse((p.lines.filter((l) => l.startsWith('joined ')).pop() || 'joined []').slice(7))

async function main() {
  const admin = spawnSync(process.execPath, ['admin.js'], { cwd: __dirname, encoding: 'utf8' })
  assert.strictEqual(admin.status, 0, admin.stderr)
  assert.match(admin.stdout, /created rider-updates/)

  const producer = start('producer.js')
  producer.child.stdin.write('tony south\nnina north\n')
  await until(producer, 'two acknowledgements', (l) => l.length === 2)
  assert.deepStrictEqual(producer.lines, ['sent tony to 1 at 0', 'sent nina to 0 at 0'])

  // Two members of one group split the partitions.
  const first = start('consumer.js', 'user-1')
  await until(first, 'both events', () => events(first).length === 2)
  assert(events(first).includes('user-1: [rider-updates]: PART:1 OFFSET:0 KEY:location-update: {"name":"tony","location":"south"}'))
  assert(events(first).includes('user-1: [rider-updates]: PART:0 OFFSET:0 KEY:location-update: {"name":"nina","location":"north"}'))
  const second = start('consumer.js', 'user-1')
  await until(second, 'one partition for the second member', () => assignment(second).length === 1)
  await until(first, 'one partition left for the first member', () => assignment(first).length === 1)
  assert.deepStrictEqual([...assignment(first), ...assignment(second)].sort(), [0, 1])

  producer.child.stdin.write('uma north\nsam east\n')
  const north = assignment(first)[0] === 0 ? first : second
  const other = north === first ? second : first
  await until(north, 'the event of partition 0', () => events(north).some((l) => l.includes('PART:0 OFFSET:1') && l.includes('uma')))
  await until(other, 'the event of partition 1', () => events(other).some((l) => l.includes('PART:1 OFFSET:1') && l.includes('sam')))

  // A second group gets everything, from the beginning.
  const whole = start('consumer.js', 'user-2')
  await until(whole, 'all four events', () => events(whole).length === 4)
  assert.deepStrictEqual(events(whole).map((l) => l.match(/"name":"(\w+)"/)[1]).sort(), ['nina', 'sam', 'tony', 'uma'])

  // When a member leaves, the other takes over and nothing is delivered twice.
  second.child.kill('SIGTERM')
  await until(first, 'both partitions again', () => assignment(first).length === 2)
  producer.child.stdin.end('ida north\nleo west\n')
  await until(first, 'the last two events', () => ['ida', 'leo'].every((n) => events(first).some((l) => l.includes(n))))
  const all = once([...events(first), ...events(second)].map((l) => l.match(/"name":"(\w+)"/)[1])).sort()
  assert.deepStrictEqual(all, ['ida', 'leo', 'nina', 'sam', 'tony', 'uma'])

  // Administration: offsets, groups, configs, deletion; compression codecs that kafkajs has.
  const client = kafka.admin()
  await client.connect()
  const offsets = await client.fetchTopicOffsets('rider-updates')
  assert.deepStrictEqual(offsets.map((o) => [o.partition, o.low, o.high]).sort(), [[0, '0', '3'], [1, '0', '3']])
  const groups = (await client.listGroups()).groups.map((g) => g.groupId).sort()
  assert.deepStrictEqual(groups.filter((g) => g.startsWith('user-')), ['user-1', 'user-2'])
  const state = async () => (await client.describeGroups(['user-2'])).groups[0].state
  for (let attempt = 0; three && attempt < 100 && await state() !== 'Stable'; attempt++) await new Promise((r) => setTimeout(r, 300))
  assert.strictEqual(await state(), 'Stable')
  await gzip()
  for (const c of children) c.child.kill('SIGTERM')
  await Promise.all(children.map((c) => c.child.exitCode !== null || c.child.signalCode !== null ? null : new Promise((r) => c.child.on('exit', r))))
  for (let attempt = 0; ; attempt++) { // a coordinator that is just away is not told that a member leaves: that is noticed later
    try { await client.deleteGroups(['user-1', 'user-2']); break } catch (e) {
      if (!three || attempt === 100) throw e
      await new Promise((r) => setTimeout(r, 500))
    }
  }
  await client.deleteTopics({ topics: ['rider-updates'] })
  assert(!(await client.listTopics()).includes('rider-updates'))
  await client.disconnect()
}

// gzip sends a compressed batch to a topic that is created on first use and reads it back.
async function gzip() {
  const { CompressionTypes } = require('kafkajs')
  const producer = kafka.producer({ allowAutoTopicCreation: true, idempotent: true })
  await producer.connect()
  const values = Array.from({ length: 100 }, (_, i) => `line ${i}`)
  await producer.send({ topic: 'made-on-first-use', compression: CompressionTypes.GZIP, messages: values.map((value) => ({ value, headers: { h: 'x' } })) })
  await producer.disconnect()
  const consumer = kafka.consumer({ groupId: 'gzip-readers' })
  await consumer.connect()
  await consumer.subscribe({ topics: ['made-on-first-use'], fromBeginning: true })
  const seen = []
  await new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error(`compressed batch: saw ${seen.length} of 100`)), 30000).unref()
    consumer.run({ eachMessage: async ({ message }) => { seen.push(message.value.toString()); if (seen.length === 100) resolve() } }).catch(reject)
  })
  assert.deepStrictEqual(seen, values)
  await consumer.disconnect()
}

main().then(
  () => { console.log('kafkajs: all assertions held'); process.exit(0) },
  (e) => { console.error(e); for (const c of children) c.child.kill('SIGKILL'); process.exit(1) },
)
