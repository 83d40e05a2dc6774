// kafka-go with every option that kratos-transport sets on writers and readers: what is written comes back as it was, and a group goes on
// where it had committed.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

const partitions = 4

var address string

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: kafka-go BOOTSTRAP")
	}
	address = os.Args[1]
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	prefix := fmt.Sprintf("kafka-go-%d-", time.Now().UnixNano())
	for _, step := range []struct {
		name string
		run  func(context.Context, string) error
	}{
		{"topics", topics}, {"creation-on-publish", creationOnPublish}, {"creation-on-subscribe", creationOnSubscribe},
		{"balancers", balancers}, {"acks", acks}, {"async", async}, {"reader-options", readerOptions}, {"group", group},
	} {
		if err := step.run(ctx, prefix+step.name); err != nil {
			log.Fatalf("%s: %v", step.name, err)
		}
		log.Printf("%s: passed", step.name)
	}
}

func controller() (*kafka.Conn, error) {
	conn, err := kafka.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	broker, err := conn.Controller()
	if err != nil {
		return nil, err
	}
	return kafka.Dial("tcp", net.JoinHostPort(broker.Host, strconv.Itoa(broker.Port)))
}

func createTopic(ctx context.Context, topic string) error {
	conn, err := controller()
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.CreateTopics(kafka.TopicConfig{Topic: topic, NumPartitions: partitions, ReplicationFactor: 1}); err != nil {
		return err
	}
	if err := waitPartitions(ctx, topic, partitions); err != nil {
		return err
	}
	// The metadata may name a leader that does not know of it yet.
	return waitWritten(ctx, topic, 0)
}

// waitPartitions waits until a topic has that many partitions with leaders; 0 until it is gone.
func waitPartitions(ctx context.Context, topic string, count int) error {
	for {
		conn, err := kafka.DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		all, err := conn.ReadPartitions()
		conn.Close()
		found := 0
		for _, partition := range all {
			if partition.Topic == topic && partition.Leader.Port != 0 {
				found++
			}
		}
		if err == nil && found == count {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s has %d partitions, not %d: %v", topic, found, count, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func topics(ctx context.Context, topic string) error {
	if err := createTopic(ctx, topic); err != nil {
		return fmt.Errorf("create: %v", err)
	}
	conn, err := controller()
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.DeleteTopics(topic); err != nil {
		return fmt.Errorf("delete: %v", err)
	}
	if err := waitPartitions(ctx, topic, 0); err != nil {
		return err
	}
	if err := conn.DeleteTopics(topic); !errors.Is(err, kafka.UnknownTopicOrPartition) {
		return fmt.Errorf("deleting a topic that is gone: %v", err)
	}
	return nil
}

func newWriter(topic string) *kafka.Writer {
	return &kafka.Writer{
		Addr: kafka.TCP(address), Topic: topic, Balancer: &kafka.LeastBytes{}, MaxAttempts: 10, BatchSize: 50, BatchBytes: 1 << 20,
		// A transport that is shared may not know of a topic yet.
		Transport: &kafka.Transport{}, BatchTimeout: 10 * time.Millisecond, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, RequiredAcks: kafka.RequireAll,
	}
}

// numbered are messages with keys and headers, each of which says what it is.
func numbered(first, last int) []kafka.Message {
	var messages []kafka.Message
	for i := first; i < last; i++ {
		messages = append(messages, kafka.Message{
			Key: []byte(fmt.Sprintf("key-%d", i)), Value: []byte(fmt.Sprintf("value-%d", i)),
			Headers: []kafka.Header{{Key: "number", Value: []byte(strconv.Itoa(i))}, {Key: "empty", Value: []byte{}}},
		})
	}
	return messages
}

// check that a message is one of numbered, and say which.
func check(message kafka.Message) (int, error) {
	if len(message.Headers) != 2 || message.Headers[0].Key != "number" || message.Headers[1].Key != "empty" {
		return 0, fmt.Errorf("headers %v", message.Headers)
	}
	number, err := strconv.Atoi(string(message.Headers[0].Value))
	if err != nil {
		return 0, err
	}
	if string(message.Key) != fmt.Sprintf("key-%d", number) || string(message.Value) != fmt.Sprintf("value-%d", number) {
		return 0, fmt.Errorf("number %d has key %q and value %q", number, message.Key, message.Value)
	}
	return number, nil
}

// readBack reads each of numbered(0, count) once, from every partition.
func readBack(ctx context.Context, topic string, count, partitions int) (map[int]int, error) {
	partitionOf := map[int]int{}
	for partition := 0; partition < partitions; partition++ {
		end, err := endOffset(ctx, topic, partition)
		if err != nil {
			return nil, err
		}
		reader := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{address}, Topic: topic, Partition: partition, MaxWait: 100 * time.Millisecond})
		for offset := int64(0); offset < end; offset++ {
			message, err := reader.ReadMessage(ctx)
			if err != nil {
				return nil, err
			}
			number, err := check(message)
			if err != nil {
				return nil, err
			}
			if _, twice := partitionOf[number]; twice || message.Offset != offset {
				return nil, fmt.Errorf("number %d came twice, or offset %d where %d was next", number, message.Offset, offset)
			}
			partitionOf[number] = partition
		}
		if lag, err := reader.ReadLag(ctx); end > 0 && (err != nil || lag != 0) {
			return nil, fmt.Errorf("partition %d was read to its end and has a lag of %d: %v", partition, lag, err)
		}
		reader.Close()
	}
	if len(partitionOf) != count {
		return nil, fmt.Errorf("%d of %d messages came back", len(partitionOf), count)
	}
	return partitionOf, nil
}

// creationOnPublish: as long as the topic is being made, the writer is to try again.
func creationOnPublish(ctx context.Context, topic string) error {
	writer := newWriter(topic)
	writer.AllowAutoTopicCreation = true
	defer writer.Close()
	for {
		err := writer.WriteMessages(ctx, numbered(0, 10)...)
		if errors.Is(err, kafka.LeaderNotAvailable) || errors.Is(err, kafka.UnknownTopicOrPartition) {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		if err != nil {
			return err
		}
		_, err = readBack(ctx, topic, 10, 1)
		return err
	}
}

func creationOnSubscribe(ctx context.Context, topic string) error {
	conn, err := kafka.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	// Asking for its partitions creates it.
	_, err = conn.ReadPartitions(topic)
	if err != nil && !errors.Is(err, kafka.LeaderNotAvailable) && !errors.Is(err, kafka.UnknownTopicOrPartition) {
		return err
	}
	return waitPartitions(ctx, topic, 1)
}

func balancers(ctx context.Context, topic string) error {
	for name, balancer := range map[string]kafka.Balancer{
		"round-robin": &kafka.RoundRobin{}, "least-bytes": &kafka.LeastBytes{}, "hash": &kafka.Hash{},
		"reference-hash": &kafka.ReferenceHash{}, "crc32": kafka.CRC32Balancer{}, "murmur2": kafka.Murmur2Balancer{},
	} {
		topic := topic + "-" + name
		if err := createTopic(ctx, topic); err != nil {
			return err
		}
		writer := newWriter(topic)
		writer.Balancer = balancer
		if err := writer.WriteMessages(ctx, numbered(0, 200)...); err != nil {
			return fmt.Errorf("%s: %v", name, err)
		}
		if err := writer.Close(); err != nil {
			return err
		}
		partitionOf, err := readBack(ctx, topic, 200, partitions)
		if err != nil {
			return fmt.Errorf("%s: %v", name, err)
		}
		used := map[int]bool{}
		for _, partition := range partitionOf {
			used[partition] = true
		}
		if len(used) != partitions {
			return fmt.Errorf("%s: %d partitions were written to", name, len(used))
		}
	}
	return nil
}

func acks(ctx context.Context, topic string) error {
	for _, acks := range []kafka.RequiredAcks{kafka.RequireNone, kafka.RequireOne, kafka.RequireAll} {
		topic := topic + "-" + acks.String()
		if err := createTopic(ctx, topic); err != nil {
			return err
		}
		writer := newWriter(topic)
		writer.RequiredAcks = acks
		if err := writer.WriteMessages(ctx, numbered(0, 200)...); err != nil {
			return fmt.Errorf("%s: %v", acks, err)
		}
		if err := writer.Close(); err != nil {
			return err
		}
		if acks == kafka.RequireNone {
			// Nothing says when they have arrived, but that they can be read.
			if err := waitWritten(ctx, topic, 200); err != nil {
				return err
			}
		}
		if _, err := readBack(ctx, topic, 200, partitions); err != nil {
			return fmt.Errorf("%s: %v", acks, err)
		}
	}
	return nil
}

func endOffset(ctx context.Context, topic string, partition int) (int64, error) {
	conn, err := kafka.DialLeader(ctx, "tcp", address, topic, partition)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	return conn.ReadLastOffset()
}

// waitWritten waits until a topic has that many records.
func waitWritten(ctx context.Context, topic string, count int64) error {
	for {
		written, failure := int64(0), error(nil)
		for partition := 0; partition < partitions; partition++ {
			end, err := endOffset(ctx, topic, partition)
			failure = errors.Join(failure, err)
			written += end
		}
		if failure == nil && written == count {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d were written: %v", written, count, failure)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// async: who writes does not wait, and is told.
func async(ctx context.Context, topic string) error {
	if err := createTopic(ctx, topic); err != nil {
		return err
	}
	writer := newWriter(topic)
	writer.Async = true
	var mutex sync.Mutex
	completed, failure := 0, error(nil)
	writer.Completion = func(messages []kafka.Message, err error) {
		mutex.Lock()
		defer mutex.Unlock()
		completed += len(messages)
		failure = errors.Join(failure, err)
	}
	if err := writer.WriteMessages(ctx, numbered(0, 1000)...); err != nil {
		return err
	}
	if err := writer.Close(); err != nil {
		return err
	}
	if failure != nil || completed != 1000 {
		return fmt.Errorf("%d of 1000 were completed: %v", completed, failure)
	}
	_, err := readBack(ctx, topic, 1000, partitions)
	return err
}

// readerOptions: the sizes and times of a reader without a group, and its offsets.
func readerOptions(ctx context.Context, topic string) error {
	if err := createTopic(ctx, topic); err != nil {
		return err
	}
	writer := newWriter(topic)
	writer.Balancer = &kafka.RoundRobin{}
	if err := writer.WriteMessages(ctx, numbered(0, 400)...); err != nil {
		return err
	}
	writer.Close()
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{address}, Topic: topic, Partition: 1, MinBytes: 10_000, MaxBytes: 1_000_000, MaxWait: 200 * time.Millisecond,
		ReadLagInterval: 100 * time.Millisecond, ReadBackoffMin: 10 * time.Millisecond, QueueCapacity: 10, MaxAttempts: 3,
	})
	defer reader.Close()
	if err := reader.SetOffset(60); err != nil {
		return err
	}
	for offset := int64(60); offset < 100; offset++ {
		message, err := reader.ReadMessage(ctx)
		if err != nil {
			return err
		}
		if message.Offset != offset || message.HighWaterMark != 100 {
			return fmt.Errorf("offset %d of %d came where %d was next", message.Offset, message.HighWaterMark, offset)
		}
	}
	return nil
}

func newReader(topic string) *kafka.Reader {
	return kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{address}, GroupID: "group-" + topic, Topic: topic, StartOffset: kafka.FirstOffset, CommitInterval: 100 * time.Millisecond,
		HeartbeatInterval: time.Second, SessionTimeout: 10 * time.Second, RebalanceTimeout: 10 * time.Second, JoinGroupBackoff: time.Second,
		WatchPartitionChanges: true, PartitionWatchInterval: 500 * time.Millisecond, RetentionTime: time.Hour, MinBytes: 1, MaxBytes: 10_000_000,
		MaxWait: 200 * time.Millisecond, GroupBalancers: []kafka.GroupBalancer{kafka.RangeGroupBalancer{}, kafka.RoundRobinGroupBalancer{}},
	})
}

// group: one reader of a group reads; a second joins and both read; a third goes on where they had committed, also in partitions that
// were added meanwhile.
func group(ctx context.Context, topic string) error {
	if err := createTopic(ctx, topic); err != nil {
		return err
	}
	writer := newWriter(topic)
	writer.Balancer = &kafka.RoundRobin{}
	defer writer.Close()
	write := func(first, last int) error { return writer.WriteMessages(ctx, numbered(first, last)...) }

	if err := write(0, 100); err != nil {
		return err
	}
	one := newReader(topic)
	if err := readAll(ctx, 0, 100, one); err != nil {
		return fmt.Errorf("the first of a group: %v", err)
	}
	two := newReader(topic)
	if err := waitMembers(ctx, "group-"+topic, 2); err != nil {
		return err
	}
	if err := write(100, 300); err != nil {
		return err
	}
	if err := readAll(ctx, 100, 300, one, two); err != nil {
		return fmt.Errorf("two of a group: %v", err)
	}
	// What they have read is committed when they are closed.
	if err := errors.Join(one.Close(), two.Close()); err != nil {
		return err
	}
	if err := write(300, 400); err != nil {
		return err
	}
	three := newReader(topic)
	if err := readAll(ctx, 300, 400, three); err != nil {
		return fmt.Errorf("a new reader of the group: %v", err)
	}
	client := &kafka.Client{Addr: kafka.TCP(address)}
	grown, err := client.CreatePartitions(ctx, &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: topic, Count: partitions + 1}}})
	if err != nil || grown.Errors[topic] != nil {
		return fmt.Errorf("add a partition: %v %v", err, grown)
	}
	if err := waitPartitions(ctx, topic, partitions+1); err != nil {
		return err
	}
	added := newWriter(topic)
	added.Balancer = kafka.BalancerFunc(func(kafka.Message, ...int) int { return partitions })
	defer added.Close()
	if err := added.WriteMessages(ctx, numbered(400, 410)...); err != nil {
		return err
	}
	if err := readAll(ctx, 400, 410, three); err != nil {
		return fmt.Errorf("a partition that was added: %v", err)
	}
	return three.Close()
}

// readAll reads exactly the numbers first to last - 1, by all readers together.
func readAll(ctx context.Context, first, last int, readers ...*kafka.Reader) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	type result struct {
		number int
		err    error
	}
	results := make(chan result)
	for _, reader := range readers {
		go func() {
			for ctx.Err() == nil {
				message, err := reader.ReadMessage(ctx)
				number := 0
				if err == nil {
					number, err = check(message)
				}
				select {
				case results <- result{number, err}:
				case <-ctx.Done():
				}
			}
		}()
	}
	seen := map[int]bool{}
	for len(seen) < last-first {
		result := <-results
		if result.err != nil {
			return fmt.Errorf("%d of %d came: %v", len(seen), last-first, result.err)
		}
		if result.number < first || last <= result.number || seen[result.number] {
			return fmt.Errorf("number %d came, twice or not expected", result.number)
		}
		seen[result.number] = true
	}
	return nil
}

// waitMembers waits until a group is stable with that many members that own something.
func waitMembers(ctx context.Context, group string, count int) error {
	client := &kafka.Client{Addr: kafka.TCP(address)}
	for {
		described, err := client.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{group}})
		if err != nil {
			return err
		}
		owners := 0
		for _, member := range described.Groups[0].Members {
			if len(member.MemberAssignments.Topics) > 0 {
				owners++
			}
		}
		if described.Groups[0].GroupState == "Stable" && owners == count {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the group is %s with %d members that own something", described.Groups[0].GroupState, owners)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
