// kafkajs: keys, headers and gzip, and a group whose two members share the partitions, of which one leaves; a new member goes on where the
// group had committed.
//
//     node clients.js BOOTSTRAP
const { CompressionTypes, Kafka, logLevel } = require('kafkajs')

const PARTITIONS = 4
const SECONDS = 60

const kafka = new Kafka({ clientId: 'compat', brokers: [process.argv[2]], logLevel: logLevel.NOTHING })
const topic = `kafkajs-${Date.now()}-${Math.random()}`
const read = []

async function until(condition, what) {
  for (const deadline = Date.now() + SECONDS * 1000; !condition(); ) {
    if (Date.now() > deadline) throw new Error(`not within ${SECONDS} s: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}

async function join() {
  const member = { consumer: kafka.consumer({ groupId: `group-${topic}`, sessionTimeout: 10000, heartbeatInterval: 1000 }), owned: [] }
  const { GROUP_JOIN, REBALANCING } = member.consumer.events
  member.consumer.on(REBALANCING, () => { member.owned = [] })
  member.consumer.on(GROUP_JOIN, event => { member.owned = event.payload.memberAssignment[topic] || [] })
  await member.consumer.connect()
  await member.consumer.subscribe({ topic, fromBeginning: true })
  await member.consumer.run({
    autoCommitThreshold: 10,
    eachMessage: async ({ message }) => { read.push({ key: `${message.key}`, value: `${message.value}`, header: `${message.headers.header}` }) }
  })
  return member
}

// Sends the numbers first to last - 1 in several batches, has somebody read them, and compares.
async function exchange(producer, first, last, what, reader = () => {}) {
  read.length = 0
  const messages = []
  for (let number = first; number < last; number++) {
    messages.push({ key: `key ${number}`, value: `value ${number}`, headers: { header: `header ${number}` }, partition: number % PARTITIONS })
  }
  const compression = first ? CompressionTypes.None : CompressionTypes.GZIP
  for (let batch = 0; batch < messages.length; batch += 20) {
    await producer.send({ topic, messages: messages.slice(batch, batch + 20), acks: -1, compression })
  }
  const who = await reader()
  await until(() => read.length >= messages.length, `${what}: ${read.length} of ${messages.length} messages`)
  const line = ({ key, value, header }) => `${key}, ${value}, ${header}`
  const came = read.map(line).sort().join('\n')
  const sent = messages.map(message => line({ ...message, header: message.headers.header })).sort().join('\n')
  if (came !== sent) throw new Error(`${what}: other messages came than were sent`)
  return who
}

async function main() {
  const admin = kafka.admin()
  await admin.connect()
  await admin.createTopics({ topics: [{ topic, numPartitions: PARTITIONS, replicationFactor: 1 }], waitForLeaders: true })
  const producer = kafka.producer()
  await producer.connect()
  const one = await join()
  await until(() => one.owned.length === PARTITIONS, 'one member owns all')
  await exchange(producer, 0, 100, 'one member')
  const two = await join()
  await until(() => one.owned.length === PARTITIONS / 2 && two.owned.length === PARTITIONS / 2, 'two members share')
  await exchange(producer, 100, 200, 'two members')
  await one.consumer.disconnect()
  await until(() => two.owned.length === PARTITIONS, 'who stays owns all')
  await exchange(producer, 200, 300, 'who stays')
  await two.consumer.disconnect()
  const committed = await admin.fetchOffsets({ groupId: `group-${topic}`, topics: [topic] })
  if (committed[0].partitions.some(({ offset }) => offset !== '75')) throw new Error(`75 was committed, and there is ${JSON.stringify(committed)}`)
  const three = await exchange(producer, 300, 400, 'a new member', join)
  await three.consumer.disconnect()
  await admin.deleteTopics({ topics: [topic] })
  await producer.disconnect()
  await admin.disconnect()
}

main().then(() => process.exit(0), error => { console.error(error.message); process.exit(1) })
