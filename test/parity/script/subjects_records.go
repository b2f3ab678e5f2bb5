package script

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/record"
)

func recordSubjects() []subject {
	return []subject{
		{
			key: 0, pool: "produced", prepare: []func(*Session) error{findEnd}, forms: slices.Concat(damagedBatches(), producerForms()), values: map[string][]value{"TopicID": {constant("no id", [16]byte{}), constant("unknown id", unknownID)}},
			build: func(s *Session) kmsg.Request { return produceOwn(s, goodBatch()) },
			after: []func(*Session) error{latestOffset},
		},
		{
			key: 1, forms: fetchForms(), build: func(s *Session) kmsg.Request { return fetchByID(s, nil) },
			values: map[string][]value{"MaxWaitMillis": constants(int32(-1), int32(1), int32(math.MaxInt32), int32(math.MinInt32))},
		},
		{
			key: 2, values: map[string][]value{"Timestamp": constants(-7, -6, -5, -4, -3, -2, 0, 1, firstTimestamp, firstTimestamp+1, firstTimestamp+2001, int64(math.MaxInt64), int64(math.MinInt64)), "TimeoutMillis": waits},
			build: func(*Session) kmsg.Request { return offsetsRequest(fixedTopic, -1) },
			forms: []form{shape("two topics and partitions", true, 0, func(_ *Session, r *kmsg.ListOffsetsRequest) {
				r.Topics[0].Partitions = append(r.Topics[0].Partitions, kmsg.ListOffsetsRequestTopicPartition{Partition: 1, Timestamp: -2, CurrentLeaderEpoch: -1})
				r.Topics = append(r.Topics, offsetsRequest(txnTopic, -2).Topics...)
			}), shape("read committed", true, 2, func(_ *Session, r *kmsg.ListOffsetsRequest) { r.IsolationLevel = 1 })},
		},
		{
			key: 21, pool: "shortened", prepare: []func(*Session) error{findEnd, forgetAll, fillOwn}, after: []func(*Session) error{earliestOffset}, values: map[string][]value{"TimeoutMillis": waits, "Offset": ends},
			build: func(s *Session) kmsg.Request { return deleteRecords(s, 2) },
		},
		{
			key: 23, build: func(*Session) kmsg.Request {
				r := kmsg.NewPtrOffsetForLeaderEpochRequest()
				r.ReplicaID = -1
				r.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: fixedTopic, Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{{CurrentLeaderEpoch: -1}}}}
				return r
			},
		},
		{
			key: 61, build: func(*Session) kmsg.Request {
				r := kmsg.NewPtrDescribeProducersRequest()
				r.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: fixedTopic, Partitions: []int32{0}}}
				return r
			},
			forms: []form{shape("two partitions", true, 0, func(_ *Session, r *kmsg.DescribeProducersRequest) { r.Topics[0].Partitions = []int32{1, 0} })},
		},
	}
}

func goodBatch() []byte { return batchOf(record.NoProducer(record.CodecNone), "one", "two") }

func produceOwn(s *Session, data []byte) *kmsg.ProduceRequest {
	r := produceRequest(s.topic(), data)
	r.Topics[0].TopicID = s.id(s.topic())
	return r
}

// findEnd remembers where the case's topic ends.
func findEnd(s *Session) error {
	response, err := s.fetch(offsetsRequest(s.topic(), -1), 5)
	if err == nil {
		s.base = response.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0].Offset
	}
	return err
}

// forgetAll deletes what other cases have left.
func forgetAll(s *Session) error {
	_, err := s.fetch(deleteRecords(s, 0), 2)
	return err
}

// ends are offsets around the three records that fillOwn adds, of which the good request deletes two.
var ends = append(constants(int64(-2), int64(-1), int64(math.MaxInt64), int64(math.MinInt64)),
	value{"+0", func(s *Session) any { return s.base }}, value{"+1", func(s *Session) any { return s.base + 1 }}, value{"+3", func(s *Session) any { return s.base + 3 }},
	value{"+4", func(s *Session) any { return s.base + 4 }}, value{"-1 from the end", func(s *Session) any { return s.base - 1 }})

func deleteRecords(s *Session, records int64) *kmsg.DeleteRecordsRequest {
	r := kmsg.NewPtrDeleteRecordsRequest()
	r.TimeoutMillis = 10_000
	r.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: s.topic(), Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Offset: s.base + records}}}}
	return r
}

func fillOwn(s *Session) error {
	_, err := s.fetch(produceRequest(s.topic(), batchOf(record.NoProducer(record.CodecNone), "one", "two", "three")), 7)
	return err
}

func offsetsRequest(topic string, timestamp int64) *kmsg.ListOffsetsRequest {
	r := kmsg.NewPtrListOffsetsRequest()
	r.ReplicaID = -1
	r.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: topic, Partitions: []kmsg.ListOffsetsRequestTopicPartition{{Timestamp: timestamp, CurrentLeaderEpoch: -1, MaxNumOffsets: 1}}}}
	return r
}

func latestOffset(s *Session) error   { return s.converse(offsetsRequest(s.topic(), -1), 5) }
func earliestOffset(s *Session) error { return s.converse(offsetsRequest(s.topic(), -2), 5) }

// seal corrects a batch's checksum.
func seal(b []byte) []byte {
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// damagedBatches are batches that are wrong in one point; offsets are those of format 2.
func damagedBatches() []form {
	var all []form
	for _, d := range []struct {
		name   string
		good   bool
		change func(b []byte) []byte
	}{
		{"wrong CRC", false, func(b []byte) []byte { b[17] ^= 1; return b }},
		{"base offset", true, func(b []byte) []byte { b[7] = 5; return b }},
		{"negative base offset", false, func(b []byte) []byte { b[0] = 0xff; return b }},
		{"leader epoch", true, func(b []byte) []byte { b[15] = 77; return b }},
		{"control bit", false, func(b []byte) []byte { b[22] |= 0x20; return seal(b) }},
		{"transactional bit", false, func(b []byte) []byte { b[22] |= 0x10; return seal(b) }},
		{"append time bit", false, func(b []byte) []byte { b[22] |= 0x08; return seal(b) }},
		{"delete horizon bit", false, func(b []byte) []byte { b[22] |= 0x40; return seal(b) }},
		{"unknown attribute bits", false, func(b []byte) []byte { b[21], b[22] = 0xff, b[22]|0x80; return seal(b) }},
		{"codec 5", false, func(b []byte) []byte { b[22] |= 5; return seal(b) }},
		{"codec 7", false, func(b []byte) []byte { b[22] |= 7; return seal(b) }},
		{"gzip that is none", false, func(b []byte) []byte { b[22] |= 1; return seal(b) }},
		{"snappy that is none", false, func(b []byte) []byte { b[22] |= 2; return seal(b) }},
		{"lz4 that is none", false, func(b []byte) []byte { b[22] |= 3; return seal(b) }},
		{"magic 0", false, func(b []byte) []byte { b[16] = 0; return b }},
		{"magic 1", false, func(b []byte) []byte { b[16] = 1; return b }},
		{"magic 3", false, func(b []byte) []byte { b[16] = 3; return b }},
		{"magic -1", false, func(b []byte) []byte { b[16] = 0xff; return b }},
		{"too many records promised", false, func(b []byte) []byte { b[60] = 9; return seal(b) }},
		{"too few records promised", false, func(b []byte) []byte { b[60] = 1; return seal(b) }},
		{"no records promised", false, func(b []byte) []byte { b[60] = 0; return seal(b) }},
		{"negative record count", false, func(b []byte) []byte { b[57] = 0xff; return seal(b) }},
		{"last offset too high", false, func(b []byte) []byte { b[26] = 9; return seal(b) }},
		{"negative last offset", false, func(b []byte) []byte { b[23] = 0xff; return seal(b) }},
		{"length beyond the data", false, func(b []byte) []byte { b[10] = 9; return b }},
		{"length too short", false, func(b []byte) []byte { b[11]--; return seal(b) }},
		{"length 0", false, func(b []byte) []byte { b[11] = 0; return b }},
		{"negative length", false, func(b []byte) []byte { b[8] = 0xff; return b }},
		{"end cut off", false, func(b []byte) []byte { return b[:len(b)-3] }},
		{"only a header", false, func(b []byte) []byte { return b[:61] }},
		{"half a header", false, func(b []byte) []byte { return b[:30] }},
		{"batch twice", false, func(b []byte) []byte { return append(b, b...) }},
		{"byte too many", false, func(b []byte) []byte { return append(b, 0) }},
		{"record length that lies", false, func(b []byte) []byte { b[61] += 2; return seal(b) }},
		{"record offset that lies", false, func(b []byte) []byte { b[64] = 8; return seal(b) }},
		{"wrong first timestamp", false, func(b []byte) []byte { b[34] ^= 9; return seal(b) }},
		{"wrong max timestamp", false, func(b []byte) []byte { b[42] ^= 9; return seal(b) }},
		{"negative timestamp", false, func(b []byte) []byte { b[27] = 0x80; return seal(b) }},
		{"sequence without a producer", false, func(b []byte) []byte { b[53], b[54], b[55], b[56] = 0, 0, 0, 4; return seal(b) }},
		{"producer without a sequence", false, func(b []byte) []byte { binary.BigEndian.PutUint64(b[43:], 4_000_000); return seal(b) }},
		{"producer with a negative sequence", false, func(b []byte) []byte {
			binary.BigEndian.PutUint64(b[43:], 4_000_000)
			b[51], b[52] = 0, 0
			return seal(b)
		}},
	} {
		all = append(all, form{name: d.name, good: d.good, change: func(_ *Session, r kmsg.Request) {
			partition := &r.(*kmsg.ProduceRequest).Topics[0].Partitions[0]
			partition.Records = d.change(partition.Records)
		}})
	}
	for name, codec := range map[string]record.Codec{"gzip": record.CodecGzip, "snappy": record.CodecSnappy, "lz4": record.CodecLZ4, "zstd": record.CodecZstd} {
		all = append(all, shape(name, true, 0, func(_ *Session, r *kmsg.ProduceRequest) {
			r.Topics[0].Partitions[0].Records = batchOf(record.NoProducer(codec), "one", "two")
		}))
	}
	slices.SortStableFunc(all, func(a, b form) int { return compareNames(a.name, b.name) })
	return all
}

func compareNames(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// producerForms are the rules of idempotent producers.
func producerForms() []form {
	with := func(epoch int16, sequence int32, records ...string) func(*Session) error {
		return send(func(s *Session) kmsg.Request {
			return produceOwn(s, batchOf(record.BuilderOptions{ProducerID: s.pid, ProducerEpoch: epoch, BaseSequence: sequence}, records...))
		})
	}
	return []form{
		talk("sequences in order", true, 0, hush(learnProducer), with(0, 0, "a", "b"), with(0, 2, "c"), with(0, 2, "c"), with(0, 0, "a", "b")),
		talk("gap in sequences", false, 0, hush(learnProducer), with(0, 0, "a", "b"), with(0, 5, "c"), with(0, 0, "a"), with(0, 1, "b")),
		talk("first sequence is not 0", true, 0, hush(learnProducer), with(0, 7, "a"), with(0, 8, "b")),
		talk("epochs", false, 0, hush(learnProducer), with(3, 0, "a"), with(4, 5, "b"), with(4, 0, "b"), with(3, 1, "c")),
		talk("sequence wraps", true, 0, hush(learnProducer), with(0, math.MaxInt32, "a"), with(0, 0, "b")),
		talk("transactional without an id", false, 0, hush(beginAs("")), send(func(s *Session) kmsg.Request {
			return produceOwn(s, batchOf(record.BuilderOptions{ProducerID: s.pid, ProducerEpoch: s.epoch, Transactional: true}, "a"))
		})),
		talk("transactional in no transaction", false, 0, hush(beginAs("")), send(transactional)),
		talk("transactional with another's id", false, 0, hush(beginAs("")), send(func(s *Session) kmsg.Request {
			r := transactional(s)
			r.(*kmsg.ProduceRequest).TransactionID = ptr(fixedTxn)
			return r
		})),
	}
}

func transactional(s *Session) kmsg.Request {
	r := produceOwn(s, batchOf(record.BuilderOptions{ProducerID: s.pid, ProducerEpoch: s.epoch, Transactional: true}, "a"))
	r.TransactionID = ptr(s.txn())
	return r
}

// fetchFixed reads the fixed topic from its beginning, with a change.
func fetchFixed(change func(r *kmsg.FetchRequest)) *kmsg.FetchRequest {
	r := kmsg.NewPtrFetchRequest()
	r.ReplicaID, r.MinBytes, r.MaxBytes, r.SessionEpoch = -1, 1, 1<<20, -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic = fixedTopic
	p := kmsg.NewFetchRequestTopicPartition()
	p.PartitionMaxBytes, p.CurrentLeaderEpoch, p.LogStartOffset = 1<<20, -1, -1
	t.Partitions = append(t.Partitions, p)
	r.Topics = append(r.Topics, t)
	if change != nil {
		change(r)
	}
	return r
}

func fetchForms() []form {
	session := func(change func(s *Session, r *kmsg.FetchRequest)) func(*Session) error {
		return func(s *Session) error {
			r := fetchByID(s, nil)
			change(s, r)
			return s.converse(r, s.version)
		}
	}
	opened := func(s *Session) error {
		response, err := s.fetch(fetchByID(s, func(r *kmsg.FetchRequest) { r.SessionEpoch = 0 }), s.version)
		if err == nil {
			s.generation = response.(*kmsg.FetchResponse).SessionID
		}
		return err
	}
	next := func(epoch int32, change func(s *Session, r *kmsg.FetchRequest)) func(*Session) error {
		return session(func(s *Session, r *kmsg.FetchRequest) {
			r.SessionID, r.SessionEpoch = s.generation, epoch
			r.Topics = nil
			change(s, r)
		})
	}
	nothing := func(*Session, *kmsg.FetchRequest) {}
	forget := func(s *Session, r *kmsg.FetchRequest) {
		r.ForgottenTopics = []kmsg.FetchRequestForgottenTopic{{Topic: fixedTopic, TopicID: s.id(fixedTopic), Partitions: []int32{0}}}
	}
	return []form{
		shape("without an id", false, 13, func(_ *Session, r *kmsg.FetchRequest) { r.Topics[0].TopicID = [16]byte{} }),
		shape("second batch", true, 0, func(_ *Session, r *kmsg.FetchRequest) {
			r.Topics[0].Partitions[0].FetchOffset = 4
		}),
		shape("at the end", true, 0, func(_ *Session, r *kmsg.FetchRequest) {
			r.Topics[0].Partitions[0].FetchOffset = 7
		}),
		shape("behind the end", false, 0, func(_ *Session, r *kmsg.FetchRequest) {
			r.Topics[0].Partitions[0].FetchOffset = 8
		}),
		shape("one byte", true, 0, func(_ *Session, r *kmsg.FetchRequest) {
			r.MaxBytes, r.Topics[0].Partitions[0].PartitionMaxBytes = 1, 1
		}),
		shape("current epoch", true, 9, func(_ *Session, r *kmsg.FetchRequest) {
			r.Topics[0].Partitions[0].CurrentLeaderEpoch = 0
		}),
		shape("epoch to come", false, 9, func(_ *Session, r *kmsg.FetchRequest) {
			r.Topics[0].Partitions[0].CurrentLeaderEpoch = 3
		}),
		shape("last fetched epoch", true, 12, func(_ *Session, r *kmsg.FetchRequest) {
			r.Topics[0].Partitions[0].LastFetchedEpoch = 0
		}),
		shape("last fetched epoch to come", false, 12, func(_ *Session, r *kmsg.FetchRequest) {
			r.Topics[0].Partitions[0].LastFetchedEpoch = 4
		}),
		shape("read committed", true, 0, func(_ *Session, r *kmsg.FetchRequest) {
			r.IsolationLevel = 1
		}),
		shape("no such partition", false, 0, func(_ *Session, r *kmsg.FetchRequest) {
			r.Topics[0].Partitions[0].Partition = 9
		}),
		talk("session", true, 7, session(func(_ *Session, r *kmsg.FetchRequest) { r.SessionEpoch = 0 })),
		talk("session goes on", true, 7, opened, next(1, nothing), next(2, forget), next(3, nothing)),
		talk("session ends", true, 7, opened, next(-1, nothing), next(1, nothing)),
		talk("session's epoch is wrong", false, 7, opened, next(5, nothing), next(1, nothing)),
		talk("session forgets what it never had", false, 7, opened, next(1, func(_ *Session, r *kmsg.FetchRequest) {
			r.ForgottenTopics = []kmsg.FetchRequestForgottenTopic{{Topic: "fixed-not-there", TopicID: unknownID, Partitions: []int32{0, 3}}}
		})),
		talk("session of nobody", false, 7, func(s *Session) error { s.generation = 123_456_789; return nil }, next(1, nothing)),
		talk("session learns of an unknown topic", false, 7, opened, next(1, func(_ *Session, r *kmsg.FetchRequest) {
			r.Topics = fetchFixed(nil).Topics
			r.Topics[0].Topic, r.Topics[0].TopicID = "fixed-not-there", unknownID
		}), next(2, nothing)),
	}
}

func fetchByID(s *Session, change func(r *kmsg.FetchRequest)) *kmsg.FetchRequest {
	r := fetchFixed(change)
	r.Topics[0].TopicID = s.id(fixedTopic)
	return r
}
