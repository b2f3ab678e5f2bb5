// Reads lines "RIDER LOCATION" and sends each as an event; riders in the north go to partition 0.
const readline = require('readline')
const { kafka } = require('./client')

async function main() {
  const producer = kafka.producer()
  await producer.connect()
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [name, location] = line.split(' ')
    const [metadata] = await producer.send({
      topic: 'rider-updates',
      messages: [{
        partition: location.toLowerCase() === 'north' ? 0 : 1,
        key: 'location-update',
        value: JSON.stringify({ name, location }),
      }],
    })
    console.log(`sent ${name} to ${metadata.partition} at ${metadata.baseOffset}`)
  }
  await producer.disconnect()
}

main().catch((e) => { console.error(e); process.exit(1) })
