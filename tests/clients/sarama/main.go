// Writes standard input into partition 0 of a topic, or reads it back to standard output, a line a record, as clients of Kafka's first
// years do: in the protocol of Kafka 0.10.0 (mode 0.10), or as sarama is without a configuration, that of 0.8.2 (mode default).
package main

import (
	"bufio"
	"fmt"
	"os"

	"github.com/Shopify/sarama"
)

// Bounds the message set that one request carries: as a batch it has to fit into max.message.bytes.
const linesAtOnce = 1000

func main() {
	if len(os.Args) != 5 {
		fail(fmt.Errorf("usage: lines 0.10|default write|read BOOTSTRAP TOPIC"))
	}
	config, ok := map[string]func() *sarama.Config{"0.10": config010, "default": func() *sarama.Config { return nil }}[os.Args[1]]
	run, known := map[string]func(*sarama.Config, string, string) error{"write": write, "read": read}[os.Args[2]]
	if !ok || !known {
		fail(fmt.Errorf("unknown mode %s %s", os.Args[1], os.Args[2]))
	}
	if err := run(config(), os.Args[3], os.Args[4]); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func config010() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.V0_10_0_1
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Return.Successes = true
	return config
}

func write(config *sarama.Config, bootstrap, topic string) error {
	producer, err := sarama.NewSyncProducer([]string{bootstrap}, config)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(os.Stdin)
	var messages []*sarama.ProducerMessage
	position := int64(0)
	send := func() error {
		if err := producer.SendMessages(messages); err != nil {
			return err
		}
		for _, message := range messages {
			if message.Offset != position {
				return fmt.Errorf("record %d was acknowledged at offset %d", position, message.Offset)
			}
			position++
		}
		messages = messages[:0]
		return nil
	}
	for lines.Scan() {
		value := sarama.ByteEncoder(append([]byte(nil), lines.Bytes()...))
		messages = append(messages, &sarama.ProducerMessage{Topic: topic, Value: value})
		if len(messages) == linesAtOnce {
			if err := send(); err != nil {
				return err
			}
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if err := send(); err != nil {
		return err
	}
	return producer.Close()
}

func read(config *sarama.Config, bootstrap, topic string) error {
	client, err := sarama.NewClient([]string{bootstrap}, config)
	if err != nil {
		return err
	}
	defer client.Close()
	end, err := client.GetOffset(topic, 0, sarama.OffsetNewest)
	if err != nil {
		return err
	}
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		return err
	}
	partition, err := consumer.ConsumePartition(topic, 0, sarama.OffsetOldest)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(os.Stdout)
	for next := int64(0); next < end; next++ {
		select {
		case message := <-partition.Messages():
			if message.Offset != next {
				return fmt.Errorf("offset %d came where %d was expected", message.Offset, next)
			}
			out.Write(message.Value)
			out.WriteByte('\n')
		case err := <-partition.Errors():
			return err
		}
	}
	return out.Flush()
}
