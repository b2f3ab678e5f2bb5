package script

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
)

// CompareRecords reads __consumer_offsets and __transaction_state of two brokers that were asked the cases, and
// compares what they have written about each group and transactional id of a case: every key and value, decoded, without what
// must differ, encoded again. Cases whose answers differ are left out. It returns how many keys it has compared.
func CompareRecords(kafkaAddr, moldauAddr string, cases []Case, kafkaAnswers, moldauAnswers []string) (int, []string, error) {
	theirs, err := internalRecords(kafkaAddr)
	if err != nil {
		return 0, nil, fmt.Errorf("apache kafka: %w", err)
	}
	ours, err := internalRecords(moldauAddr)
	if err != nil {
		return 0, nil, fmt.Errorf("moldau: %w", err)
	}
	mine, other := map[string]bool{}, map[string]bool{}
	for i := range cases {
		mine[cases[i].own()] = true
		if kafkaAnswers[i] != moldauAnswers[i] && !saysMore(moldauAnswers[i], kafkaAnswers[i]) || strings.HasSuffix(cases[i].Name, " twice") {
			other[cases[i].own()] = true
		}
	}
	var problems []string
	compared := 0
	for _, key := range keysOf(theirs, ours) {
		first, _, _ := strings.Cut(key.name, "-")
		if own := ownOf(key.name, first); !mine[own] || other[own] {
			continue // tools that ran before have groups with names of their own
		}
		compared++
		a, b := strings.Join(settled(theirs[key]), "\n"), strings.Join(settled(ours[key]), "\n")
		if inTransactions(key) {
			b = strings.ReplaceAll(b, " TopicID=<an id>", "") // a stated difference
		}
		if a != b {
			a, b := apart(a, b)
			problems = append(problems, fmt.Sprintf("records of %s\n  Apache Kafka: %s\n  Moldau:       %s", key, strings.ReplaceAll(a, "\n", "\n                "), strings.ReplaceAll(b, "\n", "\n                ")))
		}
	}
	return compared, problems, nil
}

// ownOf returns what names of a case begin with, of a name whose first part is given.
func ownOf(name, first string) string {
	second, _, _ := strings.Cut(strings.TrimPrefix(name, first+"-"), "-")
	return first + "-" + second + "-"
}

// recordKey is the key of an internal record.
type recordKey struct {
	kind string // of the key, with its version
	name string // the group or transactional id
	rest string // the topic and partition of an offset
}

func (k recordKey) String() string { return k.kind + " " + k.name + " " + k.rest }

func keysOf(a, b map[recordKey][]string) []recordKey {
	var all []recordKey
	for key := range a {
		all = append(all, key)
	}
	for key := range b {
		if _, both := a[key]; !both {
			all = append(all, key)
		}
	}
	return all
}

// settled leaves out what time alone has written after the case: a group whose members' sessions have run out, before
// or after the records were read.
func settled(lines []string) []string {
	for len(lines) > 0 && strings.HasPrefix(lines[len(lines)-1], "GroupMetadataValue") && !strings.Contains(lines[len(lines)-1], "Members=[") {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// internalRecords returns the lines for all values of each key, in order.
func internalRecords(addr string) (map[recordKey][]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics("__consumer_offsets", "__transaction_state"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.KeepControlRecords())
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, "__consumer_offsets", "__transaction_state")
	if err != nil {
		return nil, err
	}
	left := map[string]map[int32]int64{}
	open := 0
	ends.Each(func(o kadm.ListedOffset) {
		if left[o.Topic] == nil {
			left[o.Topic] = map[int32]int64{}
		}
		if left[o.Topic][o.Partition] = o.Offset; o.Offset > 0 {
			open++
		}
	})
	found := map[recordKey][]string{}
	for open > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, err
		}
		var problem error
		fetches.EachRecord(func(r *kgo.Record) {
			end := left[r.Topic][r.Partition]
			if r.Offset >= end {
				return
			}
			if r.Offset == end-1 {
				open--
			}
			if r.Attrs.IsControl() {
				return
			}
			key, line, err := readInternal(r)
			if err != nil && problem == nil {
				problem = fmt.Errorf("%s-%d at %d: %w", r.Topic, r.Partition, r.Offset, err)
			}
			found[key] = append(found[key], line)
		})
		if problem != nil {
			return nil, problem
		}
	}
	return found, nil
}

// internalMessage is a key or value of an internal record.
type internalMessage interface {
	ReadFrom([]byte) error
	AppendTo([]byte) []byte
}

func readInternal(r *kgo.Record) (key recordKey, line string, err error) {
	if len(r.Key) < 2 {
		return key, "", fmt.Errorf("key of %d bytes", len(r.Key))
	}
	var value internalMessage
	version := int16(binary.BigEndian.Uint16(r.Key))
	switch {
	case r.Topic == kafka.TransactionStateTopic:
		k := kmsg.NewTxnMetadataKey()
		value, err = &kmsg.TxnMetadataValue{}, reread(&k, r.Key)
		key = recordKey{fmt.Sprint("transaction v", version), k.TransactionalID, ""}
	case version <= 1:
		k := kmsg.NewOffsetCommitKey()
		value, err = &kmsg.OffsetCommitValue{}, reread(&k, r.Key)
		key = recordKey{fmt.Sprint("offset v", version), k.Group, fmt.Sprint(k.Topic, "-", k.Partition)}
	default:
		k := kmsg.NewGroupMetadataKey()
		value, err = &kmsg.GroupMetadataValue{}, reread(&k, r.Key)
		key = recordKey{fmt.Sprint("group v", version), k.Group, ""}
	}
	switch {
	case err != nil:
		return key, "", err
	case len(r.Value) == 0:
		return key, "tombstone", nil
	}
	if err := reread(value, r.Value); err != nil {
		return key, "", err
	}
	s := &Session{broker: &Broker{}, subject: &subject{sorted: true}, own: "no name has this in it"}
	d := &dumper{session: s}
	v := reflect.ValueOf(value).Elem()
	d.fields(v)
	text := madeUp.ReplaceAllString(d.out.String(), "<member>")
	text = pooled.ReplaceAllString(text, "~topic")
	return key, fmt.Sprintf("%s v%d %s", v.Type().Name(), v.FieldByName("Version").Int(), strings.TrimSpace(text)), nil
}

// madeUp are member ids, which end in a random id.
var madeUp = regexp.MustCompile(`[a-z]+-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// pooled are the topics that are handed from case to case.
var pooled = regexp.MustCompile(`[a-z]+-\d+-topic`)

// inTransactions reports whether an offset was committed in a transaction.
func inTransactions(key recordKey) bool {
	return strings.HasPrefix(key.kind, "offset") && strings.HasPrefix(key.name, "k28v")
}

// reread decodes a message and wants it to be encoded as it was.
func reread(m internalMessage, raw []byte) error {
	if err := m.ReadFrom(raw); err != nil {
		return err
	}
	if again := m.AppendTo(nil); !bytes.Equal(again, raw) {
		return fmt.Errorf("%x would be encoded as %x", raw, again)
	}
	return nil
}
