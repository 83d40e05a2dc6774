// sarama of 2019 as its users have it: producers, partition consumers and an offset manager, set to Kafka 0.10 (mode 0.10) or as it is
// without a configuration, which speaks 0.8.2 (mode default); and sarama-cluster's consumer groups (mode cluster).
package main

import (
	"fmt"
	"log"
	"os"
	"time"

	"github.com/Shopify/sarama"
)

// For anything that is waited for.
const patience = time.Minute

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: sarama-2019 0.10|default|cluster BOOTSTRAP")
	}
	brokers := []string{os.Args[2]}
	name := fmt.Sprintf("sarama-2019-%d", time.Now().UnixNano())
	var err error
	switch os.Args[1] {
	case "0.10":
		err = clients(brokers, name, config010)
	case "default":
		err = clients(brokers, name, func() *sarama.Config { return nil })
	case "cluster":
		err = cluster010(brokers, name)
	default:
		err = fmt.Errorf("unknown mode %s", os.Args[1])
	}
	if err != nil {
		log.Fatal(err)
	}
}

func config010() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.V0_10_0_1
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Partitioner = sarama.NewRandomPartitioner
	config.Producer.Return.Successes = true
	return config
}

func clients(brokers []string, topic string, config func() *sarama.Config) error {
	consumer, err := sarama.NewConsumer(brokers, config())
	if err != nil {
		return err
	}
	defer consumer.Close()
	// Asking for a topic's partitions creates it; who starts at the newest offset sees what comes from now on.
	newest, err := consumePartitions(consumer, topic, sarama.OffsetNewest)
	if err != nil {
		return fmt.Errorf("consume from the newest offset: %v", err)
	}
	sent := map[string]bool{}
	if err := produceSync(brokers, topic, config(), sent); err != nil {
		return fmt.Errorf("sync producer: %v", err)
	}
	if err := produceAsync(brokers, topic, config(), sent); err != nil {
		return fmt.Errorf("async producer: %v", err)
	}
	if err := newest.expect(sent); err != nil {
		return fmt.Errorf("from the newest offset: %v", err)
	}
	oldest, err := consumePartitions(consumer, topic, sarama.OffsetOldest)
	if err != nil {
		return fmt.Errorf("consume from the oldest offset: %v", err)
	}
	if err := oldest.expect(sent); err != nil {
		return fmt.Errorf("from the oldest offset: %v", err)
	}
	return manageOffsets(brokers, topic, config)
}

func produceSync(brokers []string, topic string, config *sarama.Config, sent map[string]bool) error {
	producer, err := sarama.NewSyncProducer(brokers, config)
	if err != nil {
		return err
	}
	next := map[int32]int64{}
	for i := 0; i < 100; i++ {
		value := fmt.Sprintf("sync message %d", i)
		partition, offset, err := producer.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(value)})
		if err != nil {
			return err
		}
		if offset != next[partition] {
			return fmt.Errorf("record %d of partition %d was acknowledged at offset %d", next[partition], partition, offset)
		}
		next[partition]++
		sent[value] = true
	}
	return producer.Close()
}

func produceAsync(brokers []string, topic string, config *sarama.Config, sent map[string]bool) error {
	producer, err := sarama.NewAsyncProducer(brokers, config)
	if err != nil {
		return err
	}
	failed, succeeded := make(chan error, 1), make(chan int, 1)
	go func() {
		var first error
		for err := range producer.Errors() {
			first = err
		}
		failed <- first
	}()
	go func() {
		count := 0
		for range producer.Successes() {
			count++
		}
		succeeded <- count
	}()
	const many = 1000
	for i := 0; i < many; i++ {
		value := fmt.Sprintf("async message %d", i)
		producer.Input() <- &sarama.ProducerMessage{Topic: topic, Key: sarama.StringEncoder(fmt.Sprint(i)), Value: sarama.StringEncoder(value)}
		sent[value] = true
	}
	producer.AsyncClose()
	if err := <-failed; err != nil {
		return err
	}
	if count := <-succeeded; config != nil && count != many {
		return fmt.Errorf("%d of %d were acknowledged", count, many)
	}
	return nil
}

// stream is what partition consumers deliver, merged, checked for gaps within each partition.
type stream struct {
	consumers []sarama.PartitionConsumer
	messages  chan *sarama.ConsumerMessage
}

func consumePartitions(consumer sarama.Consumer, topic string, from int64) (*stream, error) {
	partitions, err := consumer.Partitions(topic)
	if err != nil {
		return nil, err
	}
	merged := &stream{messages: make(chan *sarama.ConsumerMessage)}
	for _, partition := range partitions {
		consumer, err := consumer.ConsumePartition(topic, partition, from)
		if err != nil {
			return nil, err
		}
		merged.consumers = append(merged.consumers, consumer)
		go func() {
			for message := range consumer.Messages() {
				merged.messages <- message
			}
		}()
	}
	return merged, nil
}

// expect reads until every value came, each once and offsets without gaps, and closes the consumers.
func (s *stream) expect(values map[string]bool) error {
	seen, next := map[string]bool{}, map[int32]int64{}
	late := time.After(patience)
	for len(seen) < len(values) {
		select {
		case message := <-s.messages:
			if message.Offset != next[message.Partition] {
				return fmt.Errorf("offset %d came where %d was next", message.Offset, next[message.Partition])
			}
			next[message.Partition]++
			if value := string(message.Value); !values[value] || seen[value] {
				return fmt.Errorf("%q was not sent, or came twice", value)
			}
			seen[string(message.Value)] = true
		case <-late:
			return fmt.Errorf("%d of %d records came", len(seen), len(values))
		}
	}
	for _, consumer := range s.consumers {
		if err := consumer.Close(); err != nil {
			return err
		}
	}
	return nil
}

// manageOffsets marks an offset with metadata, and a second client resumes there and sees the metadata.
func manageOffsets(brokers []string, topic string, config func() *sarama.Config) error {
	const marked, metadata = 42, "modified metadata"
	group := "group-" + topic
	err := withOffsets(brokers, topic, group, config(), func(offsets sarama.PartitionOffsetManager) error {
		if offset, _ := offsets.NextOffset(); offset != sarama.OffsetNewest {
			return fmt.Errorf("a group without commits begins at %d", offset)
		}
		offsets.MarkOffset(marked, metadata)
		return nil
	})
	if err != nil {
		return fmt.Errorf("mark an offset: %v", err)
	}
	err = withOffsets(brokers, topic, group, config(), func(offsets sarama.PartitionOffsetManager) error {
		if offset, came := offsets.NextOffset(); offset != marked || came != metadata {
			return fmt.Errorf("marked was %d with %q, and there is %d with %q", marked, metadata, offset, came)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("resume: %v", err)
	}
	return nil
}

func withOffsets(brokers []string, topic, group string, config *sarama.Config, run func(sarama.PartitionOffsetManager) error) error {
	if config != nil {
		config.Consumer.Offsets.CommitInterval = time.Second
		config.Consumer.Return.Errors = true
	}
	client, err := sarama.NewClient(brokers, config)
	if err != nil {
		return err
	}
	defer client.Close()
	manager, err := sarama.NewOffsetManagerFromClient(group, client)
	if err != nil {
		return err
	}
	partition, err := manager.ManagePartition(topic, 0)
	if err != nil {
		return err
	}
	if err := run(partition); err != nil {
		return err
	}
	// Commits what is marked before it returns.
	if err := partition.Close(); err != nil {
		return err
	}
	return manager.Close()
}
