package folders

import (
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
)

// Suffixes, as Kafka names what is not a live log.
const (
	DeleteSuffix = "-delete"
	StraySuffix  = "-stray"
	FutureSuffix = "-future"
)

// Parse splits the name of a live log's folder into topic and partition; ok is false for every other name.
func Parse(name string) (tp kafka.TopicPartition, ok bool) {
	for _, suffix := range []string{DeleteSuffix, StraySuffix, FutureSuffix} {
		if strings.HasSuffix(name, suffix) {
			return kafka.TopicPartition{}, false
		}
	}
	dash := strings.LastIndexByte(name, '-')
	if dash <= 0 {
		return kafka.TopicPartition{}, false
	}
	partition, err := strconv.ParseInt(name[dash+1:], 10, 32)
	if err != nil || partition < 0 || strconv.FormatInt(partition, 10) != name[dash+1:] {
		return kafka.TopicPartition{}, false
	}
	tp = kafka.TopicPartition{Topic: name[:dash], Partition: int32(partition)}
	return tp, tp.Topic != kafka.ClusterMetadataTopic && kafka.ValidateTopicName(tp.Topic) == nil
}

// ParseFuture splits <topic>-<partition>.<32 hex digits>-future.
func ParseFuture(name string) (kafka.TopicPartition, bool) {
	stem, ok := strings.CutSuffix(name, FutureSuffix)
	dot := strings.LastIndexByte(stem, '.')
	if !ok || dot < 0 || len(stem)-dot-1 != 2*len(kafka.UUID{}) {
		return kafka.TopicPartition{}, false
	}
	return Parse(stem[:dot])
}

// Retired returns a unique name for the folder of a log that is no longer live:
// <topic>-<partition>.<32 hex digits><suffix>, the topic cut so that 255 bytes are enough.
func Retired(tp kafka.TopicPartition, suffix string, random env.Random) string {
	unique := kafka.NewUUID(random)
	return stem(tp, suffix) + "." + hex.EncodeToString(unique[:]) + suffix
}

// stem is what stands before the dot in a name that Retired returns.
func stem(tp kafka.TopicPartition, suffix string) string {
	partition := "-" + strconv.Itoa(int(tp.Partition))
	limit := 255 - len(partition) - len(".") - 2*len(kafka.UUID{}) - len(suffix)
	return tp.Topic[:min(len(tp.Topic), limit)] + partition
}

// IsRetired reports whether one of the folders of which stems has what stands before the dot may be that of tp: of very long names that is not certain.
func IsRetired(stems map[string]bool, tp kafka.TopicPartition) bool {
	return stems[stem(tp, DeleteSuffix)] || stems[stem(tp, StraySuffix)] || stems[stem(tp, FutureSuffix)]
}
