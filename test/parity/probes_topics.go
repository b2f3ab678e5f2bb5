package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// servedKeys are the APIs whose version ranges must be those of Apache Kafka.
var servedKeys = []int16{0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 37, 42, 43, 44, 45, 46, 47, 50, 51, 55, 57, 60, 61, 65, 66, 74, 75}

func topicProbes() []probe {
	all := []probe{{"api versions", []step{versions(0), versions(3), versions(4), versions(5), versions(99)}}}
	all = append(all, each("metadata of no topics", 1, 13, func() kmsg.Request { r := metadata(); r.Topics = []kmsg.MetadataRequestTopic{}; return r })...)
	all = append(all, each("metadata of an unknown topic", 0, 13, func() kmsg.Request { r := metadata("not-there"); r.AllowAutoTopicCreation = false; return r })[4:]...)
	all = append(all, each("metadata of a bad name", 0, 13, func() kmsg.Request { return metadata("no/slash") })...)
	all = append(all, each("metadata of an empty name", 5, 13, func() kmsg.Request { return metadata("") })...)
	all = append(all, probe{"metadata of a topic", []step{topic("p-meta", 2), askOf(9, metadata("p-meta")), askOf(13, metadata("p-meta")), askOf(1, metadata("p-meta")), metadataByID("p-meta"),
		askOf(12, withAuthorized(metadata("p-meta"))), askOf(13, metadata("p-meta", "p-meta"))}})
	all = append(all, probe{"metadata of an unknown id", []step{ask(12, func(*broker) kmsg.Request {
		r := kmsg.NewPtrMetadataRequest()
		t := kmsg.NewMetadataRequestTopic()
		t.TopicID = [16]byte{1, 2, 3}
		r.Topics = append(r.Topics, t)
		return r
	})}})
	all = append(all, createProbes()...)
	all = append(all, each("describe cluster", 0, 2, func() kmsg.Request { return kmsg.NewPtrDescribeClusterRequest() })...)
	all = append(all, probe{"describe topic partitions", []step{topic("p-dtp", 3), describePartitions(2000, "p-dtp"), describePartitions(2, "p-dtp"), describePartitions(5, "not-there", "p-dtp"), describePartitions(0, "p-dtp")}})
	return all
}

func versions(v int16) step {
	return func(_ *broker, c *conn) (string, error) {
		r := kmsg.NewPtrApiVersionsRequest()
		r.ClientSoftwareName, r.ClientSoftwareVersion = "parity", "1"
		r.SetVersion(min(v, 4))
		if v > 4 {
			return unknownVersion(c, v)
		}
		response, err := c.request(r, v)
		if err != nil {
			return "", err
		}
		a := response.(*kmsg.ApiVersionsResponse)
		lines := []string{fmt.Sprint("code ", a.ErrorCode)}
		for _, k := range a.ApiKeys {
			if slices.Contains(servedKeys, k.ApiKey) {
				lines = append(lines, fmt.Sprintf("%03d: %d-%d", k.ApiKey, k.MinVersion, k.MaxVersion))
			}
		}
		slices.Sort(lines)
		return strings.Join(lines, "\n") + "\n", nil
	}
}

// unknownVersion sends ApiVersions in a version that no broker knows: the answer must be in
// version 0 with UNSUPPORTED_VERSION (KIP-511), and the connection stays.
func unknownVersion(c *conn, v int16) (string, error) {
	r := &laterVersion{*kmsg.NewPtrApiVersionsRequest(), v}
	if _, err := c.tcp.Write(kmsg.NewRequestFormatter().AppendRequest(nil, r, 1)); err != nil {
		return "", errClosed
	}
	response, err := c.read(kmsg.NewPtrApiVersionsRequest())
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("code %d, keys given: %t\n", response.(*kmsg.ApiVersionsResponse).ErrorCode, len(response.(*kmsg.ApiVersionsResponse).ApiKeys) > 0), nil
}

// laterVersion claims a version beyond what its body is written in.
type laterVersion struct {
	kmsg.ApiVersionsRequest
	version int16
}

func (l *laterVersion) GetVersion() int16 { return l.version }
func (l *laterVersion) MaxVersion() int16 { return l.version }
func (l *laterVersion) IsFlexible() bool  { return true }

func metadata(topics ...string) *kmsg.MetadataRequest {
	r := kmsg.NewPtrMetadataRequest()
	for _, name := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = ptr(name)
		r.Topics = append(r.Topics, t)
	}
	return r
}

func withAuthorized(r *kmsg.MetadataRequest) *kmsg.MetadataRequest {
	r.IncludeTopicAuthorizedOperations = true
	return r
}

// learnID asks for the topic's id and keeps it.
func learnID(name string) step {
	return func(b *broker, c *conn) (string, error) {
		response, err := c.request(metadata(name), 12)
		if err != nil {
			return "", err
		}
		b.state["id of "+name] = response.(*kmsg.MetadataResponse).Topics[0].TopicID
		return "learned\n", nil
	}
}

func (b *broker) id(name string) [16]byte { return b.state["id of "+name].([16]byte) }

func metadataByID(name string) step {
	return func(b *broker, c *conn) (string, error) {
		if _, err := learnID(name)(b, c); err != nil {
			return "", err
		}
		return ask(12, func(b *broker) kmsg.Request {
			r := kmsg.NewPtrMetadataRequest()
			t := kmsg.NewMetadataRequestTopic()
			t.TopicID = b.id(name)
			r.Topics = append(r.Topics, t)
			return r
		})(b, c)
	}
}

func createProbes() []probe {
	invalid := func(build func(r *kmsg.CreateTopicsRequest)) func() kmsg.Request {
		return func() kmsg.Request { r := createTopic("p-invalid", 1, 1); build(r); return r }
	}
	var all []probe
	for name, build := range map[string]func(r *kmsg.CreateTopicsRequest){
		"three replicas":    func(r *kmsg.CreateTopicsRequest) { r.Topics[0].ReplicationFactor = 3 },
		"no partitions":     func(r *kmsg.CreateTopicsRequest) { r.Topics[0].NumPartitions = 0 },
		"no replicas":       func(r *kmsg.CreateTopicsRequest) { r.Topics[0].ReplicationFactor = 0 },
		"a bad name":        func(r *kmsg.CreateTopicsRequest) { r.Topics[0].Topic = "no/slash" },
		"two dots":          func(r *kmsg.CreateTopicsRequest) { r.Topics[0].Topic = ".." },
		"an empty name":     func(r *kmsg.CreateTopicsRequest) { r.Topics[0].Topic = "" },
		"a long name":       func(r *kmsg.CreateTopicsRequest) { r.Topics[0].Topic = strings.Repeat("x", 250) },
		"an unknown config": func(r *kmsg.CreateTopicsRequest) { r.Topics[0].Configs = topicConfigs("no.such", "1") },
		"a bad config":      func(r *kmsg.CreateTopicsRequest) { r.Topics[0].Configs = topicConfigs("retention.ms", "soon") },
		"a null config": func(r *kmsg.CreateTopicsRequest) {
			r.Topics[0].Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "retention.ms"}}
		},
		"a tiny segment":      func(r *kmsg.CreateTopicsRequest) { r.Topics[0].Configs = topicConfigs("segment.bytes", "1000") },
		"a repeated topic":    func(r *kmsg.CreateTopicsRequest) { r.Topics = append(r.Topics, r.Topics[0]) },
		"assignment and size": func(r *kmsg.CreateTopicsRequest) { r.Topics[0].ReplicaAssignment = assignment(0, 1) },
		"assignment of an unknown broker": func(r *kmsg.CreateTopicsRequest) {
			r.Topics[0].NumPartitions, r.Topics[0].ReplicationFactor, r.Topics[0].ReplicaAssignment = -1, -1, assignment(0, 9)
		},
		"assignment with a gap": func(r *kmsg.CreateTopicsRequest) {
			r.Topics[0].NumPartitions, r.Topics[0].ReplicationFactor, r.Topics[0].ReplicaAssignment = -1, -1, assignment(1, 1)
		},
		"assignment with a replica twice": func(r *kmsg.CreateTopicsRequest) {
			r.Topics[0].NumPartitions, r.Topics[0].ReplicationFactor, r.Topics[0].ReplicaAssignment = -1, -1, assignment(0, 1, 1)
		},
		"nothing": func(r *kmsg.CreateTopicsRequest) { r.Topics = nil },
	} {
		all = append(all, each("create with "+name, 2, 7, invalid(build))...)
	}
	slices.SortFunc(all, func(a, b probe) int { return strings.Compare(a.name, b.name) })
	validateOnly := createTopic("p-validated", 3, 1)
	validateOnly.ValidateOnly = true
	defaults := createTopic("p-defaults", -1, -1)
	all = append(all,
		probe{"create, validate only", []step{askOf(4, validateOnly), askOf(9, unlisted("p-validated"))}},
		probe{"create with defaults", []step{ask(7, func(*broker) kmsg.Request { return defaults }), askOf(9, metadata("p-defaults")), ask(7, func(*broker) kmsg.Request { return defaults })}},
		probe{"create beside a colliding name", []step{topic("p.collide_1", 1), askOf(7, createTopic("p_collide.1", 1, 1))}},
		probe{"create partitions", []step{topic("p-grow", 2), askOf(3, grow("p-grow", 3)), askOf(3, grow("p-grow", 3)), askOf(3, grow("p-grow", 1)), askOf(3, grow("not-there", 3)),
			askOf(3, growAssigned("p-grow", 4, []int32{1})), askOf(3, growAssigned("p-grow", 5, []int32{9})), askOf(3, growAssigned("p-grow", 6, []int32{1})), askOf(0, grow("p-grow", 5)), askOf(9, metadata("p-grow"))}},
		probe{"delete", []step{topic("p-delete", 1), askOf(5, deleteTopics("p-delete")), askOf(9, unlisted("p-delete")), askOf(5, deleteTopics("p-delete")), askOf(5, deleteTopics("no/slash")), askOf(5, deleteTopics("")), askOf(1, deleteTopics("not-there"))}},
		probe{"delete by id", []step{topic("p-delete-id", 1), learnID("p-delete-id"), ask(6, func(b *broker) kmsg.Request { return deleteByID(b.id("p-delete-id")) }),
			askOf(6, deleteByID([16]byte{9})), askOf(6, deleteByID([16]byte{}))}},
	)
	return all
}

func unlisted(name string) *kmsg.MetadataRequest {
	r := metadata(name)
	r.AllowAutoTopicCreation = false
	return r
}

func topicConfigs(name, value string) []kmsg.CreateTopicsRequestTopicConfig {
	return []kmsg.CreateTopicsRequestTopicConfig{{Name: name, Value: &value}}
}

func assignment(partition int32, replicas ...int32) []kmsg.CreateTopicsRequestTopicReplicaAssignment {
	return []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Partition: partition, Replicas: replicas}}
}

func grow(name string, count int32) *kmsg.CreatePartitionsRequest {
	r := kmsg.NewPtrCreatePartitionsRequest()
	t := kmsg.NewCreatePartitionsRequestTopic()
	t.Topic, t.Count = name, count
	r.Topics = append(r.Topics, t)
	r.TimeoutMillis = 10_000
	return r
}

func growAssigned(name string, count int32, replicas []int32) *kmsg.CreatePartitionsRequest {
	r := grow(name, count)
	r.Topics[0].Assignment = []kmsg.CreatePartitionsRequestTopicAssignment{{Replicas: replicas}}
	return r
}

func deleteTopics(names ...string) *kmsg.DeleteTopicsRequest {
	r := kmsg.NewPtrDeleteTopicsRequest()
	r.TopicNames, r.TimeoutMillis = names, 10_000
	return r
}

func deleteByID(id [16]byte) *kmsg.DeleteTopicsRequest {
	r := kmsg.NewPtrDeleteTopicsRequest()
	t := kmsg.NewDeleteTopicsRequestTopic()
	t.TopicID = id
	r.Topics, r.TimeoutMillis = append(r.Topics, t), 10_000
	return r
}

func describePartitions(limit int32, topics ...string) step {
	r := kmsg.NewPtrDescribeTopicPartitionsRequest()
	r.ResponsePartitionLimit = limit
	for _, name := range topics {
		t := kmsg.NewDescribeTopicPartitionsRequestTopic()
		t.Topic = name
		r.Topics = append(r.Topics, t)
	}
	return askOf(0, r)
}
