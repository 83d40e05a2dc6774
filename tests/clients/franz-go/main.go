// Writes standard input into partition 0 of a topic, or reads it back to standard output, a line a record.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	if len(os.Args) != 4 {
		fail(fmt.Errorf("usage: lines write|read BOOTSTRAP TOPIC"))
	}
	run := map[string]func(context.Context, string, string) error{"write": write, "read": read}[os.Args[1]]
	if err := run(context.Background(), os.Args[2], os.Args[3]); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func write(ctx context.Context, bootstrap, topic string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.AllowAutoTopicCreation(), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer client.Close()
	var failure atomic.Value
	lines := bufio.NewScanner(os.Stdin)
	for position := int64(0); lines.Scan(); position++ {
		record := &kgo.Record{Topic: topic, Value: append([]byte(nil), lines.Bytes()...)}
		expected := position
		client.Produce(ctx, record, func(record *kgo.Record, err error) {
			if err == nil && record.Offset != expected {
				err = fmt.Errorf("record %d was acknowledged at offset %d", expected, record.Offset)
			}
			if err != nil {
				failure.CompareAndSwap(nil, err)
			}
		})
	}
	if err := client.Flush(ctx); err != nil {
		return err
	}
	if err, ok := failure.Load().(error); ok {
		return err
	}
	return lines.Err()
}

func read(ctx context.Context, bootstrap, topic string) error {
	start := map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ConsumePartitions(start))
	if err != nil {
		return err
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	if err != nil {
		return err
	}
	end, ok := ends.Lookup(topic, 0)
	if !ok || end.Err != nil {
		return fmt.Errorf("end offset of %s: %v", topic, end.Err)
	}
	out := bufio.NewWriter(os.Stdout)
	for next := int64(0); next < end.Offset; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		fetches.EachRecord(func(record *kgo.Record) {
			out.Write(record.Value)
			out.WriteByte('\n')
			next = record.Offset + 1
		})
	}
	return out.Flush()
}
