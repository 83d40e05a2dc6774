package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/Shopify/sarama"
	cluster "github.com/bsm/sarama-cluster"
)

const partitions = 4

// A group member of sarama-cluster, with what its notifications say it owns.
type member struct {
	*cluster.Consumer
	topic    string
	owned    chan []int32
	messages chan *sarama.ConsumerMessage
}

func join(brokers []string, topic string) (*member, error) {
	config := cluster.NewConfig()
	config.Version = sarama.V0_10_0_1
	config.Consumer.Return.Errors = true
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Group.Return.Notifications = true
	consumer, err := cluster.NewConsumer(brokers, "group-"+topic, []string{topic}, config)
	if err != nil {
		return nil, err
	}
	joined := &member{consumer, topic, make(chan []int32, 100), make(chan *sarama.ConsumerMessage, 10000)}
	go func() {
		for notification := range consumer.Notifications() {
			if notification.Type == cluster.RebalanceOK {
				joined.owned <- notification.Current[topic]
			}
		}
	}()
	go func() {
		for message := range consumer.Messages() {
			joined.messages <- message
		}
	}()
	return joined, nil
}

// waitOwned reads notifications until one says that the member owns that many partitions.
func (m *member) waitOwned(count int) ([]int32, error) {
	late := time.After(patience)
	for {
		select {
		case owned := <-m.owned:
			if len(owned) == count {
				return owned, nil
			}
		case <-late:
			return nil, fmt.Errorf("a member did not come to own %d partitions", count)
		}
	}
}

// read takes count records, marks them, and says the values.
func (m *member) read(count int) (map[string]bool, error) {
	values := map[string]bool{}
	late := time.After(patience)
	for len(values) < count {
		select {
		case message := <-m.messages:
			if values[string(message.Value)] {
				return nil, fmt.Errorf("%q came twice", message.Value)
			}
			values[string(message.Value)] = true
			m.MarkOffset(message, "read")
		case <-late:
			return nil, fmt.Errorf("%d of %d records came", len(values), count)
		}
	}
	return values, nil
}

func cluster010(brokers []string, topic string) error {
	if err := createTopic(brokers, topic); err != nil {
		return fmt.Errorf("create the topic: %v", err)
	}
	first, err := join(brokers, topic)
	if err != nil {
		return err
	}
	if _, err := first.waitOwned(partitions); err != nil {
		return err
	}
	if err := produceNumbered(brokers, topic, 0, 100); err != nil {
		return err
	}
	if err := readAll(first, 0, 100); err != nil {
		return fmt.Errorf("alone in the group: %v", err)
	}
	second, err := join(brokers, topic)
	if err != nil {
		return err
	}
	theirs, err := second.waitOwned(partitions / 2)
	if err != nil {
		return err
	}
	ours, err := first.waitOwned(partitions / 2)
	if err != nil {
		return err
	}
	for _, partition := range ours {
		if partition == theirs[0] || partition == theirs[1] {
			return fmt.Errorf("partition %d has two owners", partition)
		}
	}
	// What the first had marked is committed: the second gets nothing of it.
	if err := produceNumbered(brokers, topic, 100, 200); err != nil {
		return err
	}
	if err := readAll(first, 100, 200, ours...); err != nil {
		return fmt.Errorf("the first of two: %v", err)
	}
	if err := readAll(second, 100, 200, theirs...); err != nil {
		return fmt.Errorf("the second of two: %v", err)
	}
	if err := first.Close(); err != nil {
		return err
	}
	if _, err := second.waitOwned(partitions); err != nil {
		return err
	}
	if err := second.Close(); err != nil {
		return err
	}
	// A new member goes on where the group is.
	if err := produceNumbered(brokers, topic, 200, 300); err != nil {
		return err
	}
	third, err := join(brokers, topic)
	if err != nil {
		return err
	}
	if err := readAll(third, 200, 300); err != nil {
		return fmt.Errorf("resumed: %v", err)
	}
	return third.Close()
}

func createTopic(brokers []string, topic string) error {
	config := sarama.NewConfig()
	config.Version = sarama.V0_10_2_0
	admin, err := sarama.NewClusterAdmin(brokers, config)
	if err != nil {
		return err
	}
	defer admin.Close()
	if err := admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1}, false); err != nil {
		return err
	}
	client, err := sarama.NewClient(brokers, config)
	if err != nil {
		return err
	}
	defer client.Close()
	// Until every partition has a leader.
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if err := client.RefreshMetadata(topic); err != nil {
			continue
		}
		if writable, err := client.WritablePartitions(topic); err == nil && len(writable) == partitions {
			return nil
		}
	}
	return errors.New("its partitions have no leaders")
}

func value(number int) string { return fmt.Sprintf("%d", number) }

// produceNumbered writes the numbers first to last - 1, each to the partition that is its remainder.
func produceNumbered(brokers []string, topic string, first, last int) error {
	config := config010()
	config.Producer.Partitioner = sarama.NewManualPartitioner
	// Several batches a partition, so that one of them could be missing.
	config.Producer.Flush.MaxMessages = 20
	producer, err := sarama.NewSyncProducer(brokers, config)
	if err != nil {
		return err
	}
	var messages []*sarama.ProducerMessage
	for number := first; number < last; number++ {
		message := &sarama.ProducerMessage{Topic: topic, Partition: int32(number % partitions), Value: sarama.StringEncoder(value(number))}
		messages = append(messages, message)
	}
	if err := producer.SendMessages(messages); err != nil {
		return err
	}
	return producer.Close()
}

// readAll reads exactly the numbers first to last - 1 that lie in the partitions given, in all if none is.
func readAll(from *member, first, last int, of ...int32) error {
	expected := map[string]bool{}
	for number := first; number < last; number++ {
		for _, partition := range of {
			if int(partition) == number%partitions {
				expected[value(number)] = true
			}
		}
		if len(of) == 0 {
			expected[value(number)] = true
		}
	}
	values, err := from.read(len(expected))
	if err != nil {
		return err
	}
	for value := range values {
		if !expected[value] {
			return fmt.Errorf("%q came, which was not expected", value)
		}
	}
	return nil
}
