package storage

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
)

// Folder suffixes, as Kafka names what is not a live log.
const (
	deleteSuffix = "-delete"
	straySuffix  = "-stray"
	futureSuffix = "-future"
)

// parseFolder splits the name of a live log's folder.
func parseFolder(name string) (kafka.TopicPartition, bool) {
	for _, suffix := range []string{deleteSuffix, straySuffix, futureSuffix} {
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
	tp := kafka.TopicPartition{Topic: name[:dash], Partition: int32(partition)}
	return tp, tp.Topic != kafka.ClusterMetadataTopic && kafka.ValidateTopicName(tp.Topic) == nil
}

// parseFutureFolder splits <topic>-<partition>.<32 hex digits>-future.
func parseFutureFolder(name string) (kafka.TopicPartition, bool) {
	stem, ok := strings.CutSuffix(name, futureSuffix)
	dot := strings.LastIndexByte(stem, '.')
	if !ok || dot < 0 || len(stem)-dot-1 != 2*len(kafka.UUID{}) {
		return kafka.TopicPartition{}, false
	}
	return parseFolder(stem[:dot])
}

// ParseFolder splits the name of a live log's folder into topic and partition; ok is false for
// every other name.
func ParseFolder(name string) (tp kafka.TopicPartition, ok bool) { return parseFolder(name) }

// retiredFolder returns a unique name for the folder of a log that is no longer live:
// <topic>-<partition>.<32 hex digits><suffix>, the topic cut so that 255 bytes are enough.
func retiredFolder(tp kafka.TopicPartition, suffix string, random env.Random) string {
	unique := kafka.NewUUID(random)
	end := fmt.Sprintf("-%d.%s%s", tp.Partition, hex.EncodeToString(unique[:]), suffix)
	topic := tp.Topic
	if limit := 255 - len(end); len(topic) > limit {
		topic = topic[:limit]
	}
	return topic + end
}
