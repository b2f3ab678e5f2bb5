const { kafka } = require('./client')

async function main() {
  const admin = kafka.admin()
  await admin.connect()
  const created = await admin.createTopics({ topics: [{ topic: 'rider-updates', numPartitions: 2 }] })
  console.log(created ? 'created rider-updates' : 'rider-updates exists')
  await admin.disconnect()
}

main().catch((e) => { console.error(e); process.exit(1) })
