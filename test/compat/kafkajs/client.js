const { Kafka, logLevel } = require('kafkajs')

exports.kafka = new Kafka({
  clientId: 'rider-app',
  brokers: (process.env.BROKERS || 'localhost:9092').split(','),
  logLevel: logLevel.NOTHING,
})
