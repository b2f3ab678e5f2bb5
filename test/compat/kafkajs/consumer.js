// node consumer.js GROUP: prints every event of rider-updates that this member of GROUP gets.
const { kafka } = require('./client')

async function main() {
  const groupId = process.argv[2]
  const consumer = kafka.consumer({ groupId, maxWaitTimeInMs: 200, ...(process.env.COMPAT_THREE && { sessionTimeout: 3000, heartbeatInterval: 500 }) })
  await consumer.connect()
  await consumer.subscribe({ topics: ['rider-updates'], fromBeginning: true })
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    console.log(`joined ${JSON.stringify(payload.memberAssignment['rider-updates'] || [])}`)
  })
  await consumer.run({
    eachMessage: async ({ topic, partition, message }) => {
      console.log(`${groupId}: [${topic}]: PART:${partition} OFFSET:${message.offset} KEY:${message.key}: ${message.value}`)
    },
  })
  process.on('SIGTERM', async () => { await consumer.disconnect(); process.exit(0) })
}

main().catch((e) => { console.error(e); process.exit(1) })
