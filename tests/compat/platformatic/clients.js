// @platformatic/kafka: a topic is created, messages with keys and headers are sent, a consumer of a group reads and commits them, and the
// next one goes on where the first was.
//
//     node clients.js BOOTSTRAP
import { Admin, Consumer, MessagesStreamModes, Producer, stringDeserializers, stringSerializers } from '@platformatic/kafka'

const SECONDS = 60
const bootstrapBrokers = [process.argv[2]]
const topic = `platformatic-${Date.now()}-${Math.random()}`

async function readAll(first, last) {
  const consumer = new Consumer({ groupId: `group-${topic}`, clientId: 'compat-consumer', bootstrapBrokers, deserializers: stringDeserializers })
  const stream = await consumer.consume({
    topics: [topic], autocommit: false, sessionTimeout: 10000, heartbeatInterval: 500, mode: MessagesStreamModes.COMMITTED, fallbackMode: 'earliest'
  })
  let next = first
  for await (const message of stream) {
    const { key, value, offset } = message
    if (key !== `key ${next}` || value !== `value ${next}` || message.headers.get('header') !== `header ${next}` || offset !== BigInt(next)) {
      throw new Error(`at ${next} came ${key}, ${value} at ${offset}`)
    }
    await message.commit()
    if (++next === last) break
  }
  await consumer.close(true)
}

async function main() {
  const admin = new Admin({ clientId: 'compat-admin', bootstrapBrokers })
  await admin.createTopics({ topics: [topic], partitions: 1, replicas: 1 })
  const producer = new Producer({ clientId: 'compat-producer', bootstrapBrokers, serializers: stringSerializers })
  for (const first of [0, 100]) {
    const messages = []
    for (let number = first; number < first + 100; number++) {
      messages.push({ topic, partition: 0, key: `key ${number}`, value: `value ${number}`, headers: { header: `header ${number}` } })
    }
    await producer.send({ messages, acks: -1 })
    await readAll(first, first + 100)
  }
  await producer.close()
  await admin.deleteTopics({ topics: [topic] })
  await admin.close()
}

setTimeout(() => { console.error(`not within ${2 * SECONDS} s`); process.exit(1) }, 2 * SECONDS * 1000).unref()
main().then(() => process.exit(0), error => { console.error(error.message); process.exit(1) })
