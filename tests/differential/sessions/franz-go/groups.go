package main

import (
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A session of two members, request by request: a consumer's own heartbeats would come at times that no replay has.
func (s session) groups() {
	client := s.client()
	defer client.Close()
	admin := kadm.NewClient(client)
	created, err := admin.CreateTopics(s.ctx, 4, 1, nil, s.topic)
	shown("create", created, err)
	offsets, err := admin.ListStartOffsets(s.ctx, s.topic)
	shown("start", offsets, err)
	for partition := range int32(4) {
		record := &kgo.Record{Topic: s.topic, Partition: partition, Value: []byte("read by a group")}
		shown("produce", nil, client.ProduceSync(s.ctx, record, record).FirstErr())
	}
	s.classic(client, s.topic+"-classic")
	if s.knowsInstances() {
		s.static(client, s.topic+"-static")
	}
	if s.versions == nil {
		s.consumer(client, s.topic+"-consumer")
	}
	s.outside(client, s.topic+"-outside")
	listed, err := admin.ListGroups(s.ctx)
	shown("list", listed, err)
	deleted, err := admin.DeleteTopics(s.ctx, s.topic)
	shown("delete topic", deleted, err)
	left, err := admin.FetchOffsets(s.ctx, s.topic+"-outside")
	shown("offsets of a topic that is gone", left, err)
}

// knowsInstances: whether members may be static (KIP-345), from JoinGroup 5 on.
func (s session) knowsInstances() bool {
	if s.versions == nil {
		return true
	}
	version, ok := s.versions.LookupMaxKeyVersion(11)
	return ok && 5 <= version
}

// A member of a group, with a client of its own: what it waits for holds up nobody else.
type member struct {
	session
	client     *kgo.Client
	group, id  string
	instance   *string
	generation int32
}

func (s session) member(group string) *member {
	return &member{session: s, client: s.client(), group: group, generation: -1}
}

func (m *member) ask(what string, request kmsg.Request) kmsg.Response {
	answer, err := m.client.Request(m.ctx, request)
	shown(what, answer, err)
	return answer
}

func (m *member) join(protocol string, sessionTimeout time.Duration) *kmsg.JoinGroupResponse {
	metadata := kmsg.NewConsumerMemberMetadata()
	metadata.Topics = []string{m.topic}
	request := kmsg.NewPtrJoinGroupRequest()
	request.Group, request.MemberID, request.InstanceID, request.ProtocolType = m.group, m.id, m.instance, "consumer"
	request.SessionTimeoutMillis, request.RebalanceTimeoutMillis = int32(sessionTimeout.Milliseconds()), 60000
	offered := kmsg.NewJoinGroupRequestProtocol()
	offered.Name, offered.Metadata = protocol, metadata.AppendTo(nil)
	request.Protocols = append(request.Protocols, offered)
	answer, ok := m.ask("join", request).(*kmsg.JoinGroupResponse)
	if !ok {
		return kmsg.NewPtrJoinGroupResponse()
	}
	if answer.MemberID != "" {
		m.id = answer.MemberID
	}
	const memberIDRequired = 79
	if answer.ErrorCode == memberIDRequired {
		return m.join(protocol, sessionTimeout)
	}
	if answer.ErrorCode == 0 {
		m.generation = answer.Generation
	}
	return answer
}

// sync gives each member of joined two partitions, in the order of the members; it gives nothing when joined names none.
func (m *member) sync(joined *kmsg.JoinGroupResponse) {
	request := kmsg.NewPtrSyncGroupRequest()
	request.Group, request.MemberID, request.InstanceID, request.Generation = m.group, m.id, m.instance, m.generation
	request.ProtocolType, request.Protocol = pointer("consumer"), joined.Protocol
	for index, of := range joined.Members {
		assignment := kmsg.NewConsumerMemberAssignment()
		topic := kmsg.NewConsumerMemberAssignmentTopic()
		topic.Topic, topic.Partitions = m.topic, []int32{int32(2 * index), int32(2*index + 1)}
		assignment.Topics = append(assignment.Topics, topic)
		part := kmsg.NewSyncGroupRequestGroupAssignment()
		part.MemberID, part.MemberAssignment = of.MemberID, assignment.AppendTo(nil)
		request.GroupAssignment = append(request.GroupAssignment, part)
	}
	m.ask("sync", request)
}

func (m *member) heartbeat() {
	request := kmsg.NewPtrHeartbeatRequest()
	request.Group, request.MemberID, request.InstanceID, request.Generation = m.group, m.id, m.instance, m.generation
	m.ask("heartbeat", request)
}

func (m *member) commit(partition int32, offset int64, metadata string) {
	request := kmsg.NewPtrOffsetCommitRequest()
	request.Group, request.MemberID, request.InstanceID, request.Generation = m.group, m.id, m.instance, m.generation
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic = m.topic
	of := kmsg.NewOffsetCommitRequestTopicPartition()
	of.Partition, of.Offset, of.LeaderEpoch, of.Metadata = partition, offset, 0, &metadata
	topic.Partitions = append(topic.Partitions, of)
	request.Topics = append(request.Topics, topic)
	m.ask("commit", request)
}

func (m *member) leave() {
	request := kmsg.NewPtrLeaveGroupRequest()
	request.Group, request.MemberID = m.group, m.id
	leaving := kmsg.NewLeaveGroupRequestMember()
	leaving.MemberID, leaving.InstanceID = m.id, m.instance
	request.Members = append(request.Members, leaving)
	m.ask("leave", request)
}

// described asks for the group in every way that there is. It says its state.
func (s session) described(client *kgo.Client, group string) string {
	request := kmsg.NewPtrDescribeGroupsRequest()
	request.Groups, request.IncludeAuthorizedOperations = []string{group}, true
	answer, err := request.RequestWith(s.ctx, client)
	shown("describe", answer, err)
	if s.versions == nil {
		request := kmsg.NewPtrConsumerGroupDescribeRequest()
		request.Groups, request.IncludeAuthorizedOperations = []string{group}, true
		answer, err := request.RequestWith(s.ctx, client)
		shown("describe as of the consumer protocol", answer, err)
	}
	if err != nil || len(answer.Groups) == 0 {
		return ""
	}
	return answer.Groups[0].State
}

func (s session) awaitState(client *kgo.Client, group, state string) {
	for deadline := time.Now().Add(20 * time.Second); s.described(client, group) != state && time.Now().Before(deadline); {
		time.Sleep(100 * time.Millisecond)
	}
}

// beside runs waiting until the group is in a state, then the rest, and returns when both are done.
func (s session) beside(client *kgo.Client, group, state string, waiting, rest func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		waiting()
	}()
	s.awaitState(client, group, state)
	rest()
	<-done
}

func (s session) offsets(client *kgo.Client, group string) {
	admin := kadm.NewClient(client)
	all, err := admin.FetchOffsets(s.ctx, group)
	shown("offsets", all, err)
	some, err := admin.FetchOffsetsForTopics(s.ctx, group, s.topic)
	shown("offsets of topics", some, err)
	if s.versions != nil {
		return
	}
	request := kmsg.NewPtrOffsetFetchRequest()
	request.RequireStable = true
	for _, name := range []string{group, s.topic + "-absent"} {
		of := kmsg.NewOffsetFetchRequestGroup()
		of.Group = name
		topic := kmsg.NewOffsetFetchRequestGroupTopic()
		topic.Topic, topic.Partitions = s.topic, []int32{1, 9}
		of.Topics = append(of.Topics, topic)
		request.Groups = append(request.Groups, of)
	}
	answer, err := request.RequestWith(s.ctx, client)
	shown("stable offsets of groups", answer, err)
}

func (s session) removed(client *kgo.Client, group string) {
	admin := kadm.NewClient(client)
	deleted, err := admin.DeleteOffsets(s.ctx, group, kadm.TopicsSet{s.topic: {0: {}}, s.topic + "-absent": {0: {}}})
	shown("delete offsets", deleted, err)
	gone, err := admin.DeleteGroups(s.ctx, group, s.topic+"-absent")
	shown("delete", gone, err)
}

func (s session) classic(client *kgo.Client, group string) {
	s.described(client, group)
	s.offsets(client, group)
	s.removed(client, group)
	first, second := s.member(group), s.member(group)
	defer first.client.Close()
	defer second.client.Close()
	first.heartbeat()
	first.join("range", time.Millisecond)
	joined := first.join("range", 45*time.Second)
	s.described(client, group)
	first.sync(joined)
	first.heartbeat()
	first.commit(0, 1, "as the only member")

	strange := s.member(group)
	defer strange.client.Close()
	strange.join("nobody's", 45*time.Second)
	strange.id, strange.generation = "nobody", 1
	strange.heartbeat()
	strange.commit(0, 2, "")
	strange.leave()

	follows := kmsg.NewPtrJoinGroupResponse()
	s.beside(client, group, "PreparingRebalance", func() { follows = second.join("range", 45*time.Second) }, func() {
		first.heartbeat()
		first.commit(1, 1, "while the group rebalances")
		joined = first.join("range", 45*time.Second)
	})
	s.described(client, group)
	first.commit(1, 2, "before the assignment")
	waits := func() {
		second.sync(follows)
	}
	s.beside(client, group, "CompletingRebalance", waits, func() { first.sync(joined) })
	s.described(client, group)
	for _, member := range []*member{first, second} {
		member.heartbeat()
		member.commit(0, 2, "")
		member.commit(2, 1, "some words")
		member.commit(9, 1, "")
	}
	second.generation--
	second.heartbeat()
	second.commit(0, 3, "of another generation")
	second.sync(follows)
	second.generation++
	s.offsets(client, group)
	s.removed(client, group)
	admin := kadm.NewClient(client)
	listed, err := admin.ListGroups(s.ctx, "Stable")
	shown("list", listed, err)

	second.leave()
	first.heartbeat()
	joined = first.join("range", 45*time.Second)
	first.sync(joined)
	s.described(client, group)
	first.leave()
	first.heartbeat()
	s.described(client, group)
	s.offsets(client, group)
	first.id, first.generation = "", -1
	first.commit(3, 1, "from outside")
	listed, err = admin.ListGroups(s.ctx)
	shown("list", listed, err)
	s.removed(client, group)
	s.described(client, group)
	s.offsets(client, group)
}

func (s session) static(client *kgo.Client, group string) {
	first, second := s.member(group), s.member(group)
	defer first.client.Close()
	defer second.client.Close()
	first.instance = pointer("one")
	joined := first.join("range", 45*time.Second)
	first.sync(joined)
	s.described(client, group)
	first.heartbeat()
	second.instance = first.instance
	joined = second.join("range", 45*time.Second)
	if joined.LeaderID == second.id {
		second.sync(joined)
	}
	s.described(client, group)
	first.heartbeat()
	first.commit(0, 1, "")
	second.heartbeat()
	second.commit(0, 1, "")
	first.leave()
	second.leave()
	s.described(client, group)
	s.removed(client, group)
}

// outside: a group that has offsets and never had a member.
func (s session) outside(client *kgo.Client, group string) {
	nobody := s.member(group)
	defer nobody.client.Close()
	nobody.commit(1, 1, "from outside")
	nobody.commit(9, 1, "")
	s.described(client, group)
	s.offsets(client, group)
}

// A member of a group of the consumer protocol (KIP-848).
func (m *member) beat(epoch int32, change func(*kmsg.ConsumerGroupHeartbeatRequest)) *kmsg.ConsumerGroupHeartbeatResponse {
	request := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	request.Group, request.MemberID, request.MemberEpoch, request.InstanceID = m.group, m.id, epoch, m.instance
	request.RebalanceTimeoutMillis = -1
	if change != nil {
		change(request)
	}
	answer, ok := m.ask("heartbeat", request).(*kmsg.ConsumerGroupHeartbeatResponse)
	if !ok {
		return kmsg.NewPtrConsumerGroupHeartbeatResponse()
	}
	if answer.ErrorCode == 0 {
		m.generation = answer.MemberEpoch
	}
	return answer
}

func (m *member) joins(request *kmsg.ConsumerGroupHeartbeatRequest) {
	request.RebalanceTimeoutMillis, request.SubscribedTopicNames = 60000, []string{m.topic}
	request.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
}

// owns says what a member has, as it has to when that changed.
func owns(assigned *kmsg.ConsumerGroupHeartbeatResponseAssignment) func(*kmsg.ConsumerGroupHeartbeatRequest) {
	return func(request *kmsg.ConsumerGroupHeartbeatRequest) {
		request.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		if assigned == nil {
			return
		}
		for _, topic := range assigned.Topics {
			owned := kmsg.NewConsumerGroupHeartbeatRequestTopic()
			owned.TopicID, owned.Partitions = topic.TopicID, topic.Partitions
			request.Topics = append(request.Topics, owned)
		}
	}
}

func (s session) consumer(client *kgo.Client, group string) {
	first, second := s.member(group), s.member(group)
	defer first.client.Close()
	defer second.client.Close()
	first.id, second.id = "member-a", "member-b"
	s.described(client, group)
	first.beat(1, nil)
	first.beat(0, func(request *kmsg.ConsumerGroupHeartbeatRequest) {})
	first.beat(0, func(request *kmsg.ConsumerGroupHeartbeatRequest) {
		first.joins(request)
		request.ServerAssignor = pointer("nobody's")
	})
	answer := first.beat(0, first.joins)
	answer = first.beat(first.generation, owns(answer.Assignment))
	s.described(client, group)
	first.commit(0, 1, "as the only member")

	second.beat(0, second.joins)
	s.described(client, group)
	// The first gives up half, and says so; then the second may have it.
	answer = first.beat(first.generation, nil)
	s.described(client, group)
	second.beat(second.generation, nil)
	kept := answer.Assignment
	first.beat(first.generation, owns(kept))
	answer = second.beat(second.generation, nil)
	second.beat(second.generation, owns(answer.Assignment))
	first.beat(first.generation, nil)
	s.described(client, group)
	for _, member := range []*member{first, second} {
		member.commit(0, 2, "")
		member.commit(2, 1, "some words")
	}
	s.offsets(client, group)
	request := kmsg.NewPtrOffsetFetchRequest()
	for _, epoch := range []int32{first.generation, first.generation + 5} {
		of := kmsg.NewOffsetFetchRequestGroup()
		of.Group, of.MemberID, of.MemberEpoch = group, &first.id, epoch
		request.Groups = []kmsg.OffsetFetchRequestGroup{of}
		first.ask("offsets of a member", request)
	}
	s.removed(client, group)
	admin := kadm.NewClient(client)
	listed, err := admin.ListGroups(s.ctx)
	shown("list", listed, err)

	strange := s.member(group)
	defer strange.client.Close()
	strange.id = "member-c"
	strange.beat(1, nil)
	strange.commit(0, 1, "")
	strange.join("range", 45*time.Second)
	first.beat(first.generation+5, nil)
	first.heartbeat()
	epoch := first.generation
	first.beat(-1, nil)
	first.beat(epoch, nil)
	s.described(client, group)
	second.beat(second.generation, nil)
	second.beat(-1, nil)
	s.described(client, group)
	s.offsets(client, group)
	// The one who is left speaks the classic protocol, and so does the group from now on.
	strange.leave()
	s.described(client, group)
	second.id, second.generation = "", -1
	second.commit(3, 1, "from outside")
	s.removed(client, group)
	s.described(client, group)
}
