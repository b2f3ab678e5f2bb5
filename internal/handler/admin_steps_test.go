package handler

import "github.com/twmb/franz-go/pkg/kmsg"

// fixed makes a step's question out of a request that needs no topic ids.
func fixed(req kmsg.Request) func(map[string][16]byte) kmsg.Request {
	return func(map[string][16]byte) kmsg.Request { return req }
}

func adminSteps() []adminStep {
	steps := creationSteps()
	steps = append(steps, metadataSteps()...)
	steps = append(steps, partitionSteps()...)
	steps = append(steps, describeConfigSteps()...)
	steps = append(steps, alterConfigSteps()...)
	return append(steps, deletionSteps()...)
}

func createRequest(validateOnly bool, topics ...kmsg.CreateTopicsRequestTopic) *kmsg.CreateTopicsRequest {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics, req.ValidateOnly = topics, validateOnly
	return req
}

func assigned(name string, partitions int32, replicas ...[]int32) kmsg.CreateTopicsRequestTopic {
	topic := newTopic(name, partitions, -1)
	for i, r := range replicas {
		a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		a.Partition, a.Replicas = int32(i), r
		topic.ReplicaAssignment = append(topic.ReplicaAssignment, a)
	}
	return topic
}

func creationSteps() []adminStep {
	software := kmsg.NewPtrApiVersionsRequest()
	software.ClientSoftwareName, software.ClientSoftwareVersion = "-dash", "1.0"
	return []adminStep{
		{"software name", 3, fixed(software)},
		{"validate only", 6, fixed(createRequest(true, newTopic("golden-a", 3, 1)))},
		{"create", 7, fixed(createRequest(false, newTopic("golden-a", 3, 1), newTopic("golden-b", 1, 1)))},
		{"create with the defaults", 4, fixed(createRequest(false, newTopic("golden-c", -1, -1), newTopic("golden.x", 1, -1)))},
		{"create with an assignment", 5, fixed(createRequest(true, assigned("golden-d", -1, []int32{1}, []int32{1})))},
		{"errors", 4, fixed(createRequest(false,
			newTopic("golden-a", 1, 1), newTopic("a b", 1, 1), newTopic("", 1, 1), newTopic("..", 1, 1), newTopic("golden_x", 1, 1),
			newTopic("golden-e", 0, 1), newTopic("golden-f", -2, 1), newTopic("golden-g", 1, 2), newTopic("golden-h", 1, 0), newTopic("golden-i", 1, -2),
			newTopic("golden-j", 1, 1, "no.such.config", "1"), newTopic("golden-k", 1, 1, "retention.ms", "much"), newTopic("golden-l", 1, 1, "segment.bytes", "10"),
			newTopic("twice", 1, 1), newTopic("twice", 1, 1), newTopic("__cluster_metadata", 1, 1),
			assigned("golden-m", 2, []int32{1}), assigned("golden-n", -1, []int32{7}), assigned("golden-o", -1, []int32{1, 1}), assigned("golden-p", -1, []int32{}),
		))},
		{"nothing", 4, fixed(createRequest(false))},
	}
}

func metadataRequest(autoCreate bool, names ...string) *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = autoCreate
	req.Topics = []kmsg.MetadataRequestTopic{}
	for _, name := range names {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = &name
		req.Topics = append(req.Topics, topic)
	}
	return req
}

func metadataByID(name *string, topic string) func(ids map[string][16]byte) kmsg.Request {
	return func(ids map[string][16]byte) kmsg.Request {
		req := metadataRequest(false, "golden-b")
		byID := kmsg.NewMetadataRequestTopic()
		byID.Topic, byID.TopicID = name, ids[topic]
		req.Topics = append(req.Topics, byID)
		return req
	}
}

func withOperations(req *kmsg.MetadataRequest) *kmsg.MetadataRequest {
	req.IncludeClusterAuthorizedOperations, req.IncludeTopicAuthorizedOperations = true, true
	return req
}

func metadataSteps() []adminStep {
	all := func() *kmsg.MetadataRequest { return kmsg.NewPtrMetadataRequest() }
	cluster := kmsg.NewPtrDescribeClusterRequest()
	cluster.IncludeClusterAuthorizedOperations, cluster.EndpointType = true, 1
	controllers, unknown := kmsg.NewPtrDescribeClusterRequest(), kmsg.NewPtrDescribeClusterRequest()
	controllers.EndpointType, unknown.EndpointType = 2, 9
	fenced := kmsg.NewPtrDescribeClusterRequest()
	fenced.EndpointType, fenced.IncludeFencedBrokers = 1, true
	return []adminStep{
		{"no topics", 1, fixed(metadataRequest(false))},
		{"empty is all", 0, fixed(metadataRequest(false))},
		{"null is all", 1, fixed(all())},
		{"null is all", 13, fixed(all())},
		{"by name", 5, fixed(metadataRequest(false, "golden-a"))},
		{"with operations", 8, fixed(withOperations(metadataRequest(false, "golden-a", "golden-b", "golden-a")))},
		{"with operations", 11, fixed(withOperations(metadataRequest(false, "golden-b")))},
		{"unknown and invalid", 4, fixed(metadataRequest(false, "nobody", "a b", "", ".."))},
		{"unknown and invalid", 12, fixed(metadataRequest(false, "nobody", "a b", "", ".."))},
		{"invalid with auto-creation", 9, fixed(metadataRequest(true, "a b", ".."))},
		{"by id", 12, metadataByID(nil, "golden-a")},
		{"by unknown id", 13, metadataByID(nil, "nobody")},
		{"by id before its time", 10, metadataByID(kmsg.StringPtr("x"), "golden-a")},
		{"null name", 10, metadataByID(nil, "no such id")},
		{"cluster", 0, fixed(cluster)},
		{"cluster", 1, fixed(cluster)},
		{"controllers", 1, fixed(controllers)},
		{"unknown endpoint type", 1, fixed(unknown)},
		{"fenced brokers too", 2, fixed(fenced)},
	}
}

func partitionsRequest(validateOnly bool, counts ...any) *kmsg.CreatePartitionsRequest {
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.ValidateOnly = validateOnly
	for i := 0; i+1 < len(counts); i += 2 {
		topic := kmsg.NewCreatePartitionsRequestTopic()
		topic.Topic, topic.Count = counts[i].(string), int32(counts[i+1].(int))
		req.Topics = append(req.Topics, topic)
	}
	return req
}

func pageRequest(limit int32, cursor *kmsg.DescribeTopicPartitionsRequestCursor, names ...string) *kmsg.DescribeTopicPartitionsRequest {
	req := kmsg.NewPtrDescribeTopicPartitionsRequest()
	req.ResponsePartitionLimit, req.Cursor = limit, cursor
	for _, name := range names {
		topic := kmsg.NewDescribeTopicPartitionsRequestTopic()
		topic.Topic = name
		req.Topics = append(req.Topics, topic)
	}
	return req
}

func cursorAt(topic string, partition int32) *kmsg.DescribeTopicPartitionsRequestCursor {
	c := kmsg.NewDescribeTopicPartitionsRequestCursor()
	c.Topic, c.Partition = topic, partition
	return &c
}

func partitionSteps() []adminStep {
	assignment := partitionsRequest(false, "golden-b", 2)
	replicas := kmsg.NewCreatePartitionsRequestTopicAssignment()
	replicas.Replicas = []int32{7}
	assignment.Topics[0].Assignment = []kmsg.CreatePartitionsRequestTopicAssignment{replicas}
	return []adminStep{
		{"validate only", 3, fixed(partitionsRequest(true, "golden-b", 2))},
		{"errors", 3, fixed(partitionsRequest(false, "golden-b", 1, "golden-a", 2, "nobody", 4))},
		{"negative", 1, fixed(partitionsRequest(false, "golden-b", -1))},
		{"twice", 2, fixed(partitionsRequest(false, "golden-b", 2, "golden-b", 3))},
		{"unknown broker", 2, fixed(assignment)},
		{"one more", 0, fixed(partitionsRequest(false, "golden-b", 2))},
		{"all in pages", 0, fixed(pageRequest(4, nil))},
		{"second page", 0, fixed(pageRequest(4, cursorAt("golden-b", 1)))},
		{"a page ends with a topic", 0, fixed(pageRequest(3, nil))},
		{"limit zero", 0, fixed(pageRequest(0, nil))},
		{"named", 0, fixed(pageRequest(10, nil, "golden-b", "nobody", "a b", "golden-b", "__consumer_offsets"))},
		{"cursor past the end", 0, fixed(pageRequest(10, cursorAt("golden-a", 9), "golden-a", "golden-b"))},
		{"cursor of another topic", 0, fixed(pageRequest(10, cursorAt("golden-a", 0), "golden-b"))},
		{"negative cursor", 0, fixed(pageRequest(10, cursorAt("golden-b", -1), "golden-b"))},
	}
}

func configsRequest(resourceType int8, name string, keys ...string) *kmsg.DescribeConfigsRequest {
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.IncludeSynonyms = true
	resource := kmsg.NewDescribeConfigsRequestResource()
	resource.ResourceType, resource.ResourceName, resource.ConfigNames = kmsg.ConfigResourceType(resourceType), name, keys
	req.Resources = append(req.Resources, resource)
	return req
}

func describeConfigSteps() []adminStep {
	return []adminStep{
		{"topic", 4, fixed(configsRequest(2, "golden-a", "cleanup.policy", "retention.ms", "min.insync.replicas", "max.message.bytes", "no.such.config"))},
		{"topic", 1, fixed(configsRequest(2, "golden-a", "compression.type", "flush.ms"))},
		{"unknown topic", 4, fixed(configsRequest(2, "nobody"))},
		{"invalid topic", 4, fixed(configsRequest(2, "a b"))},
		{"broker", 4, fixed(configsRequest(4, "1", "num.network.threads", "message.max.bytes", "log.cleaner.threads", "ssl.key.password", "auto.create.topics.enable"))},
		{"broker defaults", 4, fixed(configsRequest(4, ""))},
		{"other broker", 4, fixed(configsRequest(4, "9"))},
		{"no broker", 4, fixed(configsRequest(4, "abc"))},
		{"logger without broker", 4, fixed(configsRequest(8, ""))},
		{"logger of another broker", 4, fixed(configsRequest(8, "9"))},
		{"unknown type", 4, fixed(configsRequest(99, "x"))},
	}
}

type operation struct {
	op    kmsg.IncrementalAlterConfigOp
	key   string
	value *string
}

const (
	opSet      = kmsg.IncrementalAlterConfigOpSet
	opDelete   = kmsg.IncrementalAlterConfigOpDelete
	opAppend   = kmsg.IncrementalAlterConfigOpAppend
	opSubtract = kmsg.IncrementalAlterConfigOpSubtract
)

func alterRequest(resourceType int8, name string, operations ...operation) *kmsg.IncrementalAlterConfigsRequest {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceType(resourceType), name
	for _, o := range operations {
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		c.Name, c.Op, c.Value = o.key, o.op, o.value
		resource.Configs = append(resource.Configs, c)
	}
	req.Resources = append(req.Resources, resource)
	return req
}

func replaceRequest(resourceType int8, name string, configs ...string) *kmsg.AlterConfigsRequest {
	req := kmsg.NewPtrAlterConfigsRequest()
	resource := kmsg.NewAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceType(resourceType), name
	for i := 0; i+1 < len(configs); i += 2 {
		c := kmsg.NewAlterConfigsRequestResourceConfig()
		c.Name, c.Value = configs[i], &configs[i+1]
		resource.Configs = append(resource.Configs, c)
	}
	req.Resources = append(req.Resources, resource)
	return req
}

func alterConfigSteps() []adminStep {
	text := kmsg.StringPtr
	twice := alterRequest(2, "golden-a", operation{opSet, "retention.ms", text("1")})
	twice.Resources = append(twice.Resources, twice.Resources[0])
	validate := alterRequest(2, "golden-a", operation{opSet, "retention.ms", text("9")})
	validate.ValidateOnly = true
	replaceNull := replaceRequest(2, "golden-a", "retention.ms", "")
	replaceNull.Resources[0].Configs[0].Value = nil
	described := configsRequest(2, "golden-a", "cleanup.policy", "retention.ms", "max.message.bytes")
	return []adminStep{
		{"set and append", 1, fixed(alterRequest(2, "golden-a", operation{opSet, "retention.ms", text("5000")}, operation{opAppend, "cleanup.policy", text("compact")}))},
		{"after set and append", 4, fixed(described)},
		{"subtract and delete", 1, fixed(alterRequest(2, "golden-a", operation{opSubtract, "cleanup.policy", text("delete")}, operation{opDelete, "retention.ms", nil}))},
		{"after subtract and delete", 4, fixed(described)},
		{"validate only", 0, fixed(validate)},
		{"append to a number", 1, fixed(alterRequest(2, "golden-a", operation{opAppend, "retention.ms", text("5000")}))},
		{"unknown config", 1, fixed(alterRequest(2, "golden-a", operation{opSet, "no.such.config", text("1")}))},
		{"bad value", 1, fixed(alterRequest(2, "golden-a", operation{opSet, "retention.ms", text("much")}))},
		{"null value", 1, fixed(alterRequest(2, "golden-a", operation{opSet, "retention.ms", nil}))},
		{"key twice", 1, fixed(alterRequest(2, "golden-a", operation{opSet, "retention.ms", text("1")}, operation{opDelete, "retention.ms", nil}))},
		{"resource twice", 1, fixed(twice)},
		{"unknown operation", 1, fixed(alterRequest(4, "1", operation{9, "message.max.bytes", text("1")}))},
		{"unknown topic", 1, fixed(alterRequest(2, "nobody", operation{opSet, "retention.ms", text("1")}))},
		{"topic without name", 1, fixed(alterRequest(2, "", operation{opSet, "retention.ms", text("1")}))},
		{"other broker", 1, fixed(alterRequest(4, "9", operation{opSet, "message.max.bytes", text("1000")}))},
		{"no broker", 1, fixed(alterRequest(4, "abc", operation{opSet, "message.max.bytes", text("1000")}))},
		{"read-only config", 1, fixed(alterRequest(4, "1", operation{opSet, "node.id", text("2")}))},
		{"broker config", 1, fixed(alterRequest(4, "1", operation{opSet, "message.max.bytes", text("2000000")}))},
		{"broker default", 1, fixed(alterRequest(4, "", operation{opSet, "message.max.bytes", text("3000000")}))},
		{"topic after broker configs", 4, fixed(configsRequest(2, "golden-b", "max.message.bytes"))},
		{"broker after broker configs", 4, fixed(configsRequest(4, "1", "message.max.bytes"))},
		{"broker defaults after broker configs", 4, fixed(configsRequest(4, ""))},
		{"undo", 1, fixed(alterRequest(4, "1", operation{opDelete, "message.max.bytes", nil}))},
		{"undo", 1, fixed(alterRequest(4, "", operation{opDelete, "message.max.bytes", nil}))},
		{"unknown type", 1, fixed(alterRequest(99, "x", operation{opSet, "a", text("1")}))},
		{"unknown logger", 1, fixed(alterRequest(8, "1", operation{opSet, "no.such.logger", text("INFO")}))},
		{"bad level", 1, fixed(alterRequest(8, "1", operation{opSet, "root", text("LOUD")}))},
		{"remove the root logger", 1, fixed(alterRequest(8, "1", operation{opDelete, "root", nil}))},
		{"append to a logger", 1, fixed(alterRequest(8, "1", operation{opAppend, "root", text("INFO")}))},
		{"replace", 2, fixed(replaceRequest(2, "golden-a", "retention.ms", "7000"))},
		{"after replace", 4, fixed(described)},
		{"replace with null", 1, fixed(replaceNull)},
		{"replace of an unknown topic", 0, fixed(replaceRequest(2, "nobody", "retention.ms", "7000"))},
		{"replace with a bad value", 2, fixed(replaceRequest(2, "golden-a", "retention.ms", "much"))},
		{"replace a logger", 2, fixed(replaceRequest(8, "1", "root", "INFO"))},
		{"replace of an unknown type", 2, fixed(replaceRequest(99, "x", "a", "1"))},
	}
}

func deleteRequest(names []string, topics ...kmsg.DeleteTopicsRequestTopic) *kmsg.DeleteTopicsRequest {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TopicNames, req.Topics, req.TimeoutMillis = names, topics, 10000
	return req
}

func deleteTopic(name *string, id [16]byte) kmsg.DeleteTopicsRequestTopic {
	topic := kmsg.NewDeleteTopicsRequestTopic()
	topic.Topic, topic.TopicID = name, id
	return topic
}

func deletionSteps() []adminStep {
	text := kmsg.StringPtr
	return []adminStep{
		{"unknown and twice", 4, fixed(deleteRequest([]string{"nobody", "golden-b", "golden-b", "a b"}))},
		{"unknown", 1, fixed(deleteRequest([]string{"nobody"}))},
		{"names and ids", 6, func(ids map[string][16]byte) kmsg.Request {
			return deleteRequest(nil, deleteTopic(nil, ids["nobody"]), deleteTopic(text("nobody"), [16]byte{}), deleteTopic(nil, [16]byte{}), deleteTopic(text("golden-b"), ids["golden-b"]))
		}},
		{"id twice", 6, func(ids map[string][16]byte) kmsg.Request {
			return deleteRequest(nil, deleteTopic(nil, ids["golden-b"]), deleteTopic(nil, ids["golden-b"]))
		}},
		{"by id", 6, func(ids map[string][16]byte) kmsg.Request {
			return deleteRequest(nil, deleteTopic(nil, ids["golden-a"]))
		}},
		{"by name", 6, fixed(deleteRequest(nil, deleteTopic(text("golden-b"), [16]byte{})))},
		{"by name", 5, fixed(deleteRequest([]string{"golden-c", "golden.x"}))},
		{"all are gone", 12, fixed(metadataRequest(false, "golden-a", "golden-b", "golden-c"))},
	}
}
