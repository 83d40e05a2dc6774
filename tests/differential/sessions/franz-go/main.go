// A session of franz-go: franz-go BOOTSTRAP TOPIC VERSION [groups], which speaks as it would to a Kafka of that version: of topics and
// records, or of groups. What a broker refuses is part of it.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

var versions = map[string]*kversion.Versions{
	"2.0": kversion.V2_0_0(), "2.8": kversion.V2_8_0(),
}

func main() {
	ofGroups := len(os.Args) == 5 && os.Args[4] == "groups"
	if len(os.Args) < 4 || (len(os.Args) != 4 && !ofGroups) || (versions[os.Args[3]] == nil && os.Args[3] != "newest") {
		fmt.Fprintln(os.Stderr, "usage: franz-go BOOTSTRAP TOPIC 2.0|2.8|newest [groups]")
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	session := session{ctx: ctx, bootstrap: os.Args[1], topic: os.Args[2], versions: versions[os.Args[3]]}
	if ofGroups {
		session.groups()
		return
	}
	session.topics()
	session.records()
	session.configs()
	session.administration()
}

type session struct {
	ctx              context.Context
	bootstrap, topic string
	versions         *kversion.Versions
}

func (s session) client(options ...kgo.Opt) *kgo.Client {
	if s.versions != nil {
		options = append(options, kgo.MaxVersions(s.versions))
	}
	options = append(options, kgo.SeedBrokers(s.bootstrap), kgo.RequestRetries(0),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.UnknownTopicRetries(0), kgo.RecordRetries(0), kgo.FetchMaxWait(200*time.Millisecond))
	client, err := kgo.NewClient(options...)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return client
}

// shown prints what came of a request, for whoever records.
func shown(what string, answer any, err error) {
	text := fmt.Sprint(answer)
	fmt.Printf("%s: %.200s %v\n", what, text, err)
}

func pointer[T any](value T) *T { return &value }

func (s session) topics() {
	client := s.client()
	defer client.Close()
	admin := kadm.NewClient(client)
	metadata, err := admin.Metadata(s.ctx)
	shown("metadata", metadata, err)
	small := map[string]*string{"max.message.bytes": pointer("2000"), "cleanup.policy": pointer("delete")}
	created, err := admin.CreateTopics(s.ctx, 2, 1, small, s.topic, "not a name", ".")
	shown("create", created, err)
	created, err = admin.CreateTopics(s.ctx, 2, 1, nil, s.topic)
	shown("create again", created, err)
	created, err = admin.CreateTopics(s.ctx, 0, 1, nil, s.topic+"-none")
	shown("create without partitions", created, err)
	created, err = admin.CreateTopics(s.ctx, -1, -1, map[string]*string{"compression.type": pointer("zst")}, s.topic+"-config")
	shown("create with a bad config", created, err)
	created, err = admin.CreateTopics(s.ctx, -1, -1, map[string]*string{"no.such.config": pointer("1")}, s.topic+"-config")
	shown("create with an unknown config", created, err)
	validated, err := admin.ValidateCreateTopics(s.ctx, -1, -1, nil, s.topic+"-trial")
	shown("validate", validated, err)
	validated, err = admin.ValidateCreateTopics(s.ctx, 2, 3, nil, s.topic+"-copies")
	shown("validate copies", validated, err)
	assigned := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = s.topic+"-assigned", -1, -1
	for partition := range int32(2) {
		assignment := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		assignment.Partition, assignment.Replicas = partition, []int32{1}
		topic.ReplicaAssignment = append(topic.ReplicaAssignment, assignment)
	}
	assigned.Topics = append(assigned.Topics, topic)
	answer, err := assigned.RequestWith(s.ctx, client)
	shown("create assigned", answer, err)
	topics, err := admin.ListTopics(s.ctx, s.topic, s.topic+"-absent")
	shown("list", topics, err)
	for count, name := range []string{s.topic, s.topic, s.topic + "-absent"} {
		grown, err := admin.UpdatePartitions(s.ctx, 3-count, name)
		shown("grow", grown, err)
	}
	described := kmsg.NewPtrDescribeTopicPartitionsRequest()
	for _, name := range []string{s.topic, s.topic + "-absent"} {
		topic := kmsg.NewDescribeTopicPartitionsRequestTopic()
		topic.Topic = name
		described.Topics = append(described.Topics, topic)
	}
	described.ResponsePartitionLimit = 2
	partitions, err := described.RequestWith(s.ctx, client)
	shown("describe partitions", partitions, err)
}

func (s session) records() {
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(),
		"zstd": kgo.ZstdCompression(),
	}
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		client := s.client(kgo.ProducerBatchCompression(codecs[codec]))
		var records []*kgo.Record
		for number := range 3 {
			value := strings.Repeat(fmt.Sprintf("%s %d, which repeats itself", codec, number), 5)
			records = append(records, &kgo.Record{Topic: s.topic, Key: []byte(codec), Value: []byte(value),
				Headers: []kgo.RecordHeader{{Key: "codec", Value: []byte(codec)}, {Key: "codec", Value: nil}}})
		}
		shown("produce "+codec, nil, client.ProduceSync(s.ctx, records...).FirstErr())
		client.Close()
	}
	for _, acks := range []kgo.Acks{kgo.NoAck(), kgo.LeaderAck()} {
		client := s.client(kgo.RequiredAcks(acks), kgo.DisableIdempotentWrite())
		record := &kgo.Record{Topic: s.topic, Partition: 1, Value: []byte("acknowledged otherwise")}
		shown("produce", nil, client.ProduceSync(s.ctx, record).FirstErr())
		record = &kgo.Record{Topic: s.topic, Partition: 1, Timestamp: time.UnixMilli(99999999999999), Value: []byte("too late")}
		shown("produce of tomorrow", nil, client.ProduceSync(s.ctx, record).FirstErr())
		client.Close()
	}
	client := s.client(kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite(), kgo.ProducerBatchCompression(kgo.NoCompression()))
	record := &kgo.Record{Topic: s.topic, Value: []byte(strings.Repeat("large", 1000))}
	shown("produce too large", nil, client.ProduceSync(s.ctx, record).FirstErr())
	client.Close()

	for _, isolation := range []kgo.IsolationLevel{kgo.ReadUncommitted(), kgo.ReadCommitted()} {
		start := map[string]map[int32]kgo.Offset{s.topic: {0: kgo.NewOffset().AtStart(), 1: kgo.NewOffset().At(1000)}}
		client := s.client(kgo.ConsumePartitions(start), kgo.FetchIsolationLevel(isolation), kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()))
		for range 3 {
			ctx, cancel := context.WithTimeout(s.ctx, time.Second)
			fetches := client.PollFetches(ctx)
			cancel()
			shown("fetch", fetches.NumRecords(), fetches.Err())
		}
		client.Close()
	}

	client = s.client()
	defer client.Close()
	admin := kadm.NewClient(client)
	for name, list := range map[string]func(context.Context, ...string) (kadm.ListedOffsets, error){
		"start": admin.ListStartOffsets, "end": admin.ListEndOffsets, "committed": admin.ListCommittedOffsets,
	} {
		offsets, err := list(s.ctx, s.topic)
		shown(name, offsets, err)
	}
	for _, timestamp := range []int64{-6, -5, -4, -3, 1, 99999999999999} {
		offsets, err := admin.ListOffsetsAfterMilli(s.ctx, timestamp, s.topic)
		shown("offsets", offsets, err)
	}
	epochs := kmsg.NewPtrOffsetForLeaderEpochRequest()
	epochs.ReplicaID = -1
	asked := kmsg.NewOffsetForLeaderEpochRequestTopic()
	asked.Topic = s.topic
	for partition, epoch := range []int32{0, 5, 0} {
		of := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		of.Partition, of.LeaderEpoch = int32(partition), epoch
		asked.Partitions = append(asked.Partitions, of)
	}
	epochs.Topics = append(epochs.Topics, asked)
	answer, err := client.Broker(1).Request(s.ctx, epochs)
	shown("leader epochs", answer, err)
}

func (s session) configs() {
	client := s.client()
	defer client.Close()
	admin := kadm.NewClient(client)
	described, err := admin.DescribeTopicConfigs(s.ctx, s.topic, s.topic+"-absent")
	shown("configs", described, err)
	for _, config := range []kadm.AlterConfig{
		{Op: kadm.SetConfig, Name: "retention.ms", Value: pointer("9000000000000")},
		{Op: kadm.AppendConfig, Name: "cleanup.policy", Value: pointer("compact")},
		{Op: kadm.SubtractConfig, Name: "cleanup.policy", Value: pointer("compact")},
		{Op: kadm.AppendConfig, Name: "retention.ms", Value: pointer("1")},
		{Op: kadm.SetConfig, Name: "retention.ms", Value: pointer("soon")},
		{Op: kadm.SetConfig, Name: "retention.ms", Value: pointer("-2")},
		{Op: kadm.SetConfig, Name: "no.such.config", Value: pointer("1")},
		{Op: kadm.SetConfig, Name: "message.timestamp.type", Value: nil},
		{Op: kadm.DeleteConfig, Name: "retention.ms"},
	} {
		altered, err := admin.AlterTopicConfigs(s.ctx, []kadm.AlterConfig{config}, s.topic)
		shown("alter "+config.Name, altered, err)
	}
	for _, value := range []string{"9000000000001", "soon"} {
		altered, err := admin.AlterTopicConfigsState(s.ctx, []kadm.AlterConfig{{Name: "retention.ms", Value: pointer(value)}}, s.topic)
		shown("replace configs", altered, err)
	}
	validated, err := admin.ValidateAlterTopicConfigs(s.ctx, []kadm.AlterConfig{{Op: kadm.DeleteConfig, Name: "retention.ms"}}, s.topic)
	shown("validate", validated, err)
	described, err = admin.DescribeTopicConfigs(s.ctx, s.topic)
	shown("configs", described, err)
	brokers, err := admin.DescribeBrokerConfigs(s.ctx, 1)
	shown("broker's configs", brokers, err)
	listed := kmsg.NewPtrListConfigResourcesRequest()
	listed.ResourceTypes = []int8{2, 4}
	resources, err := listed.RequestWith(s.ctx, client)
	shown("config resources", resources, err)
}

func (s session) administration() {
	client := s.client()
	defer client.Close()
	admin := kadm.NewClient(client)
	cluster, err := kmsg.NewPtrDescribeClusterRequest().RequestWith(s.ctx, client)
	shown("cluster", cluster, err)
	for _, offset := range []int64{2, 1, 1000, -1} {
		var offsets kadm.Offsets
		offsets.Add(kadm.Offset{Topic: s.topic, Partition: 0, At: offset, LeaderEpoch: -1})
		deleted, err := admin.DeleteRecords(s.ctx, offsets)
		shown("delete records", deleted, err)
	}
	starts, err := admin.ListStartOffsets(s.ctx, s.topic)
	shown("start", starts, err)
	directories, err := admin.DescribeAllLogDirs(s.ctx, kadm.TopicsSet{s.topic: {0: {}, 1: {}}})
	shown("log directories", directories, err)
	for _, how := range []kadm.ElectLeadersHow{kadm.ElectPreferredReplica, kadm.ElectLiveReplica} {
		elected, err := admin.ElectLeaders(s.ctx, how, kadm.TopicsSet{s.topic: {0: {}, 9: {}}, s.topic + "-absent": {0: {}}})
		shown("elect", elected, err)
	}
	for _, replicas := range [][]int32{{1}, {1, 2}, {1, 1}, {}} {
		moved, err := admin.AlterPartitionAssignments(s.ctx, kadm.AlterPartitionAssignmentsReq{s.topic: {0: replicas, 9: replicas}})
		shown("move", moved, err)
	}
	moves, err := admin.ListPartitionReassignments(s.ctx, nil)
	shown("moves", moves, err)
	producers, err := admin.DescribeProducers(s.ctx, kadm.TopicsSet{s.topic: {0: {}, 9: {}}})
	shown("producers", producers, err)
	deleted, err := admin.DeleteTopics(s.ctx, s.topic, s.topic+"-absent")
	shown("delete", deleted, err)
	metadata, err := admin.Metadata(s.ctx, s.topic)
	shown("metadata", metadata, err)
}
