// franz-go's groups, with the classic protocol's assignors and with that of KIP-848: two members share the partitions, one leaves, and the
// other goes on where the group had committed. And its producer with every codec: batches arrive as they were compressed.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const partitions = 4

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: franz-go BOOTSTRAP")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	prefix := fmt.Sprintf("franz-go-%d-", time.Now().UnixNano())
	for name, options := range map[string][]kgo.Opt{
		"range":              {kgo.Balancers(kgo.RangeBalancer())},
		"round-robin":        {kgo.Balancers(kgo.RoundRobinBalancer())},
		"sticky":             {kgo.Balancers(kgo.StickyBalancer())},
		"cooperative-sticky": {kgo.Balancers(kgo.CooperativeStickyBalancer())},
	} {
		var classic protocol
		if err := group(ctx, os.Args[1], prefix+name, append(options, kgo.WithHooks(&classic))); err != nil {
			log.Fatalf("%s: %v", name, err)
		}
		if classic.joins.Load() == 0 || classic.heartbeats.Load() != 0 {
			log.Fatalf("%s: the members did not speak the classic protocol", name)
		}
	}
	var spoken protocol
	next := context.WithValue(ctx, "opt_in_kafka_next_gen_balancer_beta", true)
	options := []kgo.Opt{kgo.WithContext(next), kgo.Balancers(kgo.CooperativeStickyBalancer()), kgo.WithHooks(&spoken)}
	if err := group(next, os.Args[1], prefix+"next", options); err != nil {
		log.Fatalf("KIP-848: %v", err)
	}
	// The client falls back to the classic protocol, without a word, where it finds that the broker lacks the new one.
	if joins := spoken.joins.Load(); spoken.heartbeats.Load() == 0 || joins != 0 {
		log.Fatalf("KIP-848: the members sent %d ConsumerGroupHeartbeat and %d JoinGroup", spoken.heartbeats.Load(), joins)
	}
	if err := codecs(ctx, os.Args[1], prefix+"codecs"); err != nil {
		log.Fatalf("codecs: %v", err)
	}
}

// protocol counts, as they are written to a connection, the requests by which the two protocols of groups are told apart.
type protocol struct{ joins, heartbeats atomic.Int64 }

func (p *protocol) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	switch key {
	case 11: // JoinGroup
		p.joins.Add(1)
	case 68: // ConsumerGroupHeartbeat
		p.heartbeats.Add(1)
	}
}

var _ kgo.HookBrokerWrite = (*protocol)(nil)

// A member polls, and commits what it has read before it gives partitions up.
type member struct {
	client *kgo.Client
	done   chan struct{}
	mutex  sync.Mutex
	owned  map[int32]bool
}

func join(ctx context.Context, bootstrap, topic string, read chan<- *kgo.Record, options []kgo.Opt) (*member, error) {
	joined := &member{done: make(chan struct{}), owned: map[int32]bool{}}
	lost := func(ctx context.Context, client *kgo.Client, partitions map[string][]int32) {
		if err := client.CommitUncommittedOffsets(ctx); err != nil {
			log.Printf("commit: %v", err)
		}
		joined.own(partitions[topic], false)
	}
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(bootstrap), kgo.ConsumerGroup("group-" + topic), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.OnPartitionsRevoked(lost),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
			joined.own(partitions[topic], true)
		}),
	}, options...)...)
	if err != nil {
		return nil, err
	}
	joined.client = client
	go func() {
		defer close(joined.done)
		for {
			fetches := client.PollFetches(ctx)
			if fetches.IsClientClosed() || ctx.Err() != nil {
				return
			}
			fetches.EachRecord(func(record *kgo.Record) { read <- record })
			client.AllowRebalance()
		}
	}()
	return joined, nil
}

func (m *member) own(partitions []int32, owned bool) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	for _, partition := range partitions {
		if owned {
			m.owned[partition] = true
		} else {
			delete(m.owned, partition)
		}
	}
}

func (m *member) share() int {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return len(m.owned)
}

func (m *member) leave() {
	m.client.CloseAllowingRebalance()
	<-m.done
}

// waitShares waits until each of the members owns that many partitions.
func waitShares(ctx context.Context, share int, members ...*member) error {
	for {
		fair := true
		for _, member := range members {
			fair = fair && member.share() == share
		}
		if fair {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d members do not own %d partitions each", len(members), share)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func group(ctx context.Context, bootstrap, topic string, options []kgo.Opt) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	producer, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer producer.Close()
	if created, err := kadm.NewClient(producer).CreateTopic(ctx, partitions, 1, nil, topic); err != nil || created.Err != nil {
		return fmt.Errorf("create the topic: %v", err)
	}
	read := make(chan *kgo.Record, 10000)
	// exchange writes the numbers first to last - 1 and waits until each of them, and nothing else, was read.
	exchange := func(first, last int) error {
		for number := first; number < last; number++ {
			record := &kgo.Record{Topic: topic, Partition: int32(number % partitions), Value: []byte(strconv.Itoa(number))}
			if err := producer.ProduceSync(ctx, record).FirstErr(); err != nil {
				return err
			}
		}
		seen := map[int]bool{}
		for len(seen) < last-first {
			select {
			case record := <-read:
				number, _ := strconv.Atoi(string(record.Value))
				if number < first || seen[number] {
					return fmt.Errorf("%d was read twice", number)
				}
				seen[number] = true
			case <-ctx.Done():
				return fmt.Errorf("%d of %d were read", len(seen), last-first)
			}
		}
		return nil
	}
	one, err := join(ctx, bootstrap, topic, read, options)
	if err != nil {
		return err
	}
	if err := waitShares(ctx, partitions, one); err != nil {
		return err
	}
	if err := exchange(0, 50); err != nil {
		return fmt.Errorf("one member: %v", err)
	}
	two, err := join(ctx, bootstrap, topic, read, options)
	if err != nil {
		return err
	}
	if err := waitShares(ctx, partitions/2, one, two); err != nil {
		return err
	}
	if err := exchange(50, 100); err != nil {
		return fmt.Errorf("two members: %v", err)
	}
	one.leave()
	if err := waitShares(ctx, partitions, two); err != nil {
		return err
	}
	if err := exchange(100, 150); err != nil {
		return fmt.Errorf("after one left: %v", err)
	}
	two.leave()
	three, err := join(ctx, bootstrap, topic, read, options)
	if err != nil {
		return err
	}
	defer three.leave()
	if err := exchange(150, 200); err != nil {
		return fmt.Errorf("a new member: %v", err)
	}
	return nil
}

func codecs(ctx context.Context, bootstrap, topic string) error {
	for name, codec := range map[string]struct {
		codec kgo.CompressionCodec
		bits  uint8
	}{
		"none": {kgo.NoCompression(), 0}, "gzip": {kgo.GzipCompression(), 1}, "snappy": {kgo.SnappyCompression(), 2},
		"lz4": {kgo.Lz4Compression(), 3}, "zstd": {kgo.ZstdCompression(), 4},
	} {
		topic := topic + "-" + name
		client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.AllowAutoTopicCreation(), kgo.ProducerBatchCompression(codec.codec),
			kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.ProducerLinger(10*time.Millisecond))
		if err != nil {
			return err
		}
		var records []*kgo.Record
		for number := 0; number < 500; number++ {
			records = append(records, &kgo.Record{Topic: topic, Value: []byte(fmt.Sprintf("the same words again and again %d", number))})
		}
		if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
			return fmt.Errorf("%s: %v", name, err)
		}
		for came := 0; came < len(records); {
			fetches := client.PollFetches(ctx)
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("%s: %d of %d came back", name, came, len(records))
			}
			for _, record := range fetches.Records() {
				if string(record.Value) != string(records[record.Offset].Value) || record.Attrs.CompressionType() != codec.bits {
					return fmt.Errorf("%s: offset %d has %q, compressed as %d", name, record.Offset, record.Value, record.Attrs.CompressionType())
				}
				came++
			}
		}
		client.Close()
	}
	return nil
}
