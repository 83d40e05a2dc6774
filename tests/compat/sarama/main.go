// Today's sarama: sync and async producers with every codec, and consumer groups with every strategy: two members share the partitions, one
// leaves, and the other goes on where the group had committed.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/IBM/sarama"
)

const (
	partitions = 4
	// For anything that is waited for.
	patience = time.Minute
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: sarama BOOTSTRAP")
	}
	brokers := []string{os.Args[1]}
	prefix := fmt.Sprintf("sarama-%d-", time.Now().UnixNano())
	for _, codec := range []sarama.CompressionCodec{
		sarama.CompressionNone, sarama.CompressionGZIP, sarama.CompressionSnappy, sarama.CompressionLZ4, sarama.CompressionZSTD,
	} {
		if err := producers(brokers, prefix+codec.String(), codec); err != nil {
			log.Fatalf("%s: %v", codec, err)
		}
	}
	for _, strategy := range []sarama.BalanceStrategy{
		sarama.NewBalanceStrategyRange(), sarama.NewBalanceStrategyRoundRobin(), sarama.NewBalanceStrategySticky(),
	} {
		if err := group(brokers, prefix+strategy.Name(), strategy); err != nil {
			log.Fatalf("%s: %v", strategy.Name(), err)
		}
	}
}

func newConfig() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.V2_8_0_0
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	return config
}

func createTopic(brokers []string, topic string) error {
	admin, err := sarama.NewClusterAdmin(brokers, newConfig())
	if err != nil {
		return err
	}
	defer admin.Close()
	return admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1}, false)
}

// numbered are messages that say their number, which also says their partition.
func numbered(topic string, first, last int) []*sarama.ProducerMessage {
	var messages []*sarama.ProducerMessage
	for number := first; number < last; number++ {
		messages = append(messages, &sarama.ProducerMessage{
			Topic: topic, Partition: int32(number % partitions), Key: sarama.StringEncoder("key"), Value: sarama.StringEncoder(strconv.Itoa(number)),
			Headers: []sarama.RecordHeader{{Key: []byte("header"), Value: []byte(strconv.Itoa(number))}},
		})
	}
	return messages
}

func producers(brokers []string, topic string, codec sarama.CompressionCodec) error {
	if err := createTopic(brokers, topic); err != nil {
		return err
	}
	config := newConfig()
	config.Producer.Compression = codec
	sync, err := sarama.NewSyncProducer(brokers, config)
	if err != nil {
		return err
	}
	if err := sync.SendMessages(numbered(topic, 0, 200)); err != nil {
		return err
	}
	if err := sync.Close(); err != nil {
		return err
	}
	async, err := sarama.NewAsyncProducer(brokers, config)
	if err != nil {
		return err
	}
	go func() {
		for _, message := range numbered(topic, 200, 400) {
			async.Input() <- message
		}
	}()
	for succeeded := 0; succeeded < 200; succeeded++ {
		select {
		case <-async.Successes():
		case err := <-async.Errors():
			return err
		case <-time.After(patience):
			return fmt.Errorf("%d of 200 were acknowledged", succeeded)
		}
	}
	if err := async.Close(); err != nil {
		return err
	}
	consumer, err := sarama.NewConsumer(brokers, newConfig())
	if err != nil {
		return err
	}
	defer consumer.Close()
	for partition := int32(0); partition < partitions; partition++ {
		messages, err := consumer.ConsumePartition(topic, partition, sarama.OffsetOldest)
		if err != nil {
			return err
		}
		for offset := int64(0); offset < 100; offset++ {
			expected := strconv.Itoa(int(offset)*partitions + int(partition))
			select {
			case message := <-messages.Messages():
				if message.Offset != offset || string(message.Value) != expected || string(message.Headers[0].Value) != expected {
					return fmt.Errorf("offset %d has %q, not %q at %d", message.Offset, message.Value, expected, offset)
				}
			case <-time.After(patience):
				return fmt.Errorf("offset %d of partition %d does not come", offset, partition)
			}
		}
		if err := messages.Close(); err != nil {
			return err
		}
	}
	return nil
}

// member hands on what it reads, and says with each generation how much it owns.
type member struct {
	group  sarama.ConsumerGroup
	topic  string
	owned  chan int
	read   chan int
	cancel context.CancelFunc
	done   chan error
}

func (m *member) Setup(session sarama.ConsumerGroupSession) error {
	m.owned <- len(session.Claims()[m.topic])
	return nil
}
func (m *member) Cleanup(sarama.ConsumerGroupSession) error { return nil }
func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		number, err := strconv.Atoi(string(message.Value))
		if err != nil {
			return err
		}
		m.read <- number
		session.MarkMessage(message, "")
	}
	return nil
}

func join(brokers []string, topic string, strategy sarama.BalanceStrategy, read chan int) (*member, error) {
	config := newConfig()
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategy}
	group, err := sarama.NewConsumerGroup(brokers, "group-"+topic, config)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	joined := &member{group, topic, make(chan int, 100), read, cancel, make(chan error, 1)}
	go func() {
		for ctx.Err() == nil {
			if err := group.Consume(ctx, []string{topic}, joined); err != nil {
				joined.done <- err
				return
			}
		}
		joined.done <- group.Close()
	}()
	return joined, nil
}

func (m *member) waitOwned(count int) error {
	late := time.After(patience)
	for {
		select {
		case owned := <-m.owned:
			if owned == count {
				return nil
			}
		case err := <-m.done:
			return err
		case <-late:
			return fmt.Errorf("a member does not come to own %d partitions", count)
		}
	}
}

func (m *member) leave() error {
	m.cancel()
	return <-m.done
}

func group(brokers []string, topic string, strategy sarama.BalanceStrategy) error {
	if err := createTopic(brokers, topic); err != nil {
		return err
	}
	producer, err := sarama.NewSyncProducer(brokers, newConfig())
	if err != nil {
		return err
	}
	defer producer.Close()
	read := make(chan int, 1000)
	// exchange writes the numbers first to last - 1 and reads exactly them, in whatever order.
	exchange := func(first, last int) error {
		if err := producer.SendMessages(numbered(topic, first, last)); err != nil {
			return err
		}
		seen := map[int]bool{}
		late := time.After(patience)
		for len(seen) < last-first {
			select {
			case number := <-read:
				if number < first || seen[number] {
					return fmt.Errorf("%d was read twice", number)
				}
				seen[number] = true
			case <-late:
				return fmt.Errorf("%d of %d were read", len(seen), last-first)
			}
		}
		return nil
	}
	one, err := join(brokers, topic, strategy, read)
	if err != nil {
		return err
	}
	if err := one.waitOwned(partitions); err != nil {
		return err
	}
	if err := exchange(0, 100); err != nil {
		return fmt.Errorf("one member: %v", err)
	}
	two, err := join(brokers, topic, strategy, read)
	if err != nil {
		return err
	}
	for _, member := range []*member{one, two} {
		if err := member.waitOwned(partitions / 2); err != nil {
			return err
		}
	}
	if err := exchange(100, 200); err != nil {
		return fmt.Errorf("two members: %v", err)
	}
	if err := one.leave(); err != nil {
		return err
	}
	if err := two.waitOwned(partitions); err != nil {
		return err
	}
	if err := exchange(200, 300); err != nil {
		return fmt.Errorf("after one left: %v", err)
	}
	if err := two.leave(); err != nil {
		return err
	}
	three, err := join(brokers, topic, strategy, read)
	if err != nil {
		return err
	}
	if err := exchange(300, 400); err != nil {
		return fmt.Errorf("a new member: %v", err)
	}
	return three.leave()
}
