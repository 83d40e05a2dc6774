// @platformatic/kafka: a topic is created, messages with keys and headers are sent, and a group's two members share the partitions, of which
// one leaves; a new member goes on where the group had committed.
//
//     node clients.js BOOTSTRAP
import { once } from 'node:events'
import { Admin, Consumer, MessagesStreamModes, Producer, stringDeserializers, stringSerializers } from '@platformatic/kafka'

const PARTITIONS = 4
const SECONDS = 60
const bootstrapBrokers = [process.argv[2]]
const topic = `platformatic-${Date.now()}-${Math.random()}`
// What came since the last exchange, from all members.
const read = []

async function until(condition, what) {
  for (const deadline = Date.now() + SECONDS * 1000; !condition(); ) {
    if (Date.now() > deadline) throw new Error(`not within ${SECONDS} s: ${what()}`)
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}

// A consumer whose stream is read message by message; each is committed before it counts.
class Member {
  static async join() {
    const member = new Member()
    member.consumer = new Consumer({ groupId: `group-${topic}`, clientId: 'compat-consumer', bootstrapBrokers, deserializers: stringDeserializers })
    member.stream = await member.consumer.consume({
      topics: [topic], autocommit: false, sessionTimeout: 10000, heartbeatInterval: 500, maxWaitTime: 200, mode: MessagesStreamModes.COMMITTED,
      fallbackMode: 'earliest'
    })
    member.followed = member.#follow()
    // Whoever waits for something of this member fails with it.
    member.followed.catch(error => { member.failure = error })
    return member
  }

  async #follow() {
    for await (const { key, value, headers, partition, offset, commit } of this.stream) {
      await commit()
      read.push(`${key}, ${value}, ${headers.get('header')}, ${partition}:${offset}`)
    }
  }

  owned() {
    if (this.failure) throw this.failure
    return this.consumer.assignments?.find(assignment => assignment.topic === topic)?.partitions ?? []
  }

  async leave() {
    await this.consumer.close(true)
    await this.followed
  }
}

async function shared(members) {
  const all = () => members.flatMap(member => member.owned())
  await until(
    () => new Set(all()).size === PARTITIONS && members.every(member => member.owned().length === PARTITIONS / members.length),
    () => `${members.length} members share ${PARTITIONS} partitions; they own ${JSON.stringify(members.map(member => member.owned()))}`
  )
  // A fetch that began before may still bring messages of a partition that was given up; the one after it does not.
  for (let fetches = 0; fetches < 2; fetches++) await Promise.all(members.map(member => once(member.stream, 'fetch')))
}

// Sends the numbers first to last - 1 in several batches, has somebody read them, and compares.
async function exchange(producer, first, last, what, reader = () => {}) {
  const messages = []
  const expected = []
  for (let number = first; number < last; number++) {
    const message = { topic, partition: number % PARTITIONS, key: `key ${number}`, value: `value ${number}`, headers: { header: `header ${number}` } }
    messages.push(message)
    expected.push(`${message.key}, ${message.value}, ${message.headers.header}, ${message.partition}:${Math.floor(number / PARTITIONS)}`)
  }
  for (let batch = 0; batch < messages.length; batch += 20) await producer.send({ messages: messages.slice(batch, batch + 20), acks: -1 })
  const who = await reader()
  await until(() => read.length >= expected.length, () => `${what}: ${read.length} of ${expected.length} messages came`)
  const came = read.splice(0)
  if (came.sort().join('\n') !== expected.sort().join('\n')) {
    const other = came.find((line, index) => line !== expected[index])
    throw new Error(`${what}: other messages came than were sent, say ${other}`)
  }
  return who
}

async function main() {
  const admin = new Admin({ clientId: 'compat-admin', bootstrapBrokers })
  await admin.createTopics({ topics: [topic], partitions: PARTITIONS, replicas: 1 })
  const producer = new Producer({ clientId: 'compat-producer', bootstrapBrokers, serializers: stringSerializers })
  const one = await Member.join()
  await shared([one])
  await exchange(producer, 0, 100, 'one member')
  const two = await Member.join()
  await shared([one, two])
  await exchange(producer, 100, 200, 'two members')
  await one.leave()
  await shared([two])
  await exchange(producer, 200, 300, 'who stays')
  await two.leave()
  const three = await exchange(producer, 300, 400, 'a new member', Member.join)
  await three.leave()
  await producer.close()
  await admin.deleteTopics({ topics: [topic] })
  await admin.close()
}

setTimeout(() => { console.error(`not within ${4 * SECONDS} s`); process.exit(1) }, 4 * SECONDS * 1000).unref()
main().then(() => process.exit(0), error => { console.error(error.message); process.exit(1) })
