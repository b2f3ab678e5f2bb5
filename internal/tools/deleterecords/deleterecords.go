// Package deleterecords is kafka-delete-records: it deletes the records of partitions below given
// offsets. The command table in internal/tools calls Run; nothing here starts a goroutine.
package deleterecords

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

const summary = "This tool helps to delete records of the given partitions down to the specified offset."

// maxFileBytes bounds the offset file.
const maxFileBytes = 64 << 20

// Run is kafka-delete-records.
func Run(ctx context.Context, s cli.Streams, args []string) error {
	p := cli.NewParser()
	bootstrap := p.Value("bootstrap-server", "String: server(s) to use for bootstrapping", "REQUIRED: brokers to connect to.")
	file := p.Value("offset-json-file", "String: Offset json file path",
		"REQUIRED: JSON file with an offset per partition, such as {\"partitions\": [{\"topic\": \"foo\", \"partition\": 1, \"offset\": 1}], \"version\": 1}")
	config := p.Value("command-config", "String: command config property file path", "File with client properties.")
	set, err := p.Parse(args)
	if err != nil {
		return fail(s, err)
	}
	if done, err := set.HelpOrVersion(s, summary); done {
		return err
	}
	if err := set.CheckRequired(s, bootstrap, file); err != nil {
		return err
	}
	admin, err := client.Connection{Servers: bootstrap, Config: config}.Open(s, set)
	if err != nil {
		return fail(s, err)
	}
	defer admin.Close()
	offsets, err := readOffsets(set.String(file))
	if err != nil {
		return fail(s, err)
	}
	s.Println("Executing records delete operation")
	// As in Kafka, what a partition answered is part of the output, not of the exit code.
	results := deleteAll(ctx, admin, offsets)
	s.Println("Records delete operation completed:")
	for _, o := range offsets {
		switch r, ok := results[o.tp]; {
		case !ok:
			s.Printf("partition: %s\terror: %s\n", o.tp, "the broker did not answer for the partition")
		case r.err != nil:
			s.Printf("partition: %s\terror: %s\n", o.tp, client.Exception(r.err))
		default:
			s.Printf("partition: %s\tlow_watermark: %d\n", o.tp, r.lowWatermark)
		}
	}
	return nil
}

func fail(s cli.Streams, err error) error {
	s.Errorln(err.Error())
	return cli.Failed
}

type beforeOffset struct {
	tp     kafka.TopicPartition
	offset int64
}

// readOffsets reads the file; its messages are those of Kafka's tool.
func readOffsets(path string) ([]beforeOffset, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("Unable to read file %s", path) //nolint:staticcheck // the words of Kafka's tools
	}
	if info.Size() > maxFileBytes {
		return nil, fmt.Errorf("%s has %d bytes; at most %d are read", path, info.Size(), maxFileBytes)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("Unable to read file %s", path) //nolint:staticcheck // the words of Kafka's tools
	}
	return parseOffsets(data)
}

func parseOffsets(data []byte) ([]beforeOffset, error) {
	var content struct {
		Version    *int `json:"version"`
		Partitions *[]struct {
			Topic     *string `json:"topic"`
			Partition *int32  `json:"partition"`
			Offset    *int64  `json:"offset"`
		} `json:"partitions"`
	}
	if !json.Valid(data) {
		return nil, errors.New("The input string is not a valid JSON") //nolint:staticcheck // the words of Kafka's tools
	}
	if err := json.Unmarshal(data, &content); err != nil {
		return nil, fmt.Errorf("the offset file has not the expected form: %w", err)
	}
	if content.Version != nil && *content.Version != 1 {
		return nil, fmt.Errorf("Not supported version field value %d", *content.Version) //nolint:staticcheck // the words of Kafka's tools
	}
	if content.Partitions == nil {
		return nil, errors.New("Missing partitions field") //nolint:staticcheck // the words of Kafka's tools
	}
	var all []beforeOffset
	count := map[kafka.TopicPartition]int{}
	var twice []string
	for i, p := range *content.Partitions {
		if p.Topic == nil || p.Partition == nil || p.Offset == nil {
			return nil, fmt.Errorf("entry %d of the offset file needs topic, partition and offset", i+1)
		}
		tp := kafka.TopicPartition{Topic: *p.Topic, Partition: *p.Partition}
		if count[tp]++; count[tp] == 2 {
			twice = append(twice, tp.String())
		}
		all = append(all, beforeOffset{tp, *p.Offset})
	}
	if len(twice) > 0 {
		return nil, fmt.Errorf("Offset json file contains duplicate topic partitions: %s", strings.Join(twice, ",")) //nolint:staticcheck // the words of Kafka's tools
	}
	slices.SortFunc(all, func(a, b beforeOffset) int { return client.ComparePartitions(a.tp, b.tp) })
	return all, nil
}

type result struct {
	lowWatermark int64
	err          error
}

// deleteAll sends each leader its partitions.
func deleteAll(ctx context.Context, admin *client.Client, offsets []beforeOffset) map[kafka.TopicPartition]result {
	results := map[kafka.TopicPartition]result{}
	if len(offsets) == 0 {
		return results
	}
	ctx, cancel := admin.Context(ctx)
	defer cancel()
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = int32(min(admin.APITimeout.Milliseconds(), 1<<31-1))
	for _, o := range offsets { // sorted, so a topic's partitions follow each other
		if n := len(req.Topics); n == 0 || req.Topics[n-1].Topic != o.tp.Topic {
			req.Topics = append(req.Topics, kmsg.DeleteRecordsRequestTopic{Topic: o.tp.Topic})
		}
		topic := &req.Topics[len(req.Topics)-1]
		topic.Partitions = append(topic.Partitions, kmsg.DeleteRecordsRequestTopicPartition{Partition: o.tp.Partition, Offset: o.offset})
	}
	for _, shard := range admin.RequestSharded(ctx, req) {
		if shard.Err != nil {
			if failed, ok := shard.Req.(*kmsg.DeleteRecordsRequest); ok {
				for _, topic := range failed.Topics {
					for _, p := range topic.Partitions {
						results[kafka.TopicPartition{Topic: topic.Topic, Partition: p.Partition}] = result{-1, client.Convert(shard.Err, "deleteRecords")}
					}
				}
			}
			continue
		}
		if resp, ok := shard.Resp.(*kmsg.DeleteRecordsResponse); ok {
			for _, topic := range resp.Topics {
				for _, p := range topic.Partitions {
					results[kafka.TopicPartition{Topic: topic.Topic, Partition: p.Partition}] = result{p.LowWatermark, client.FromCode(p.ErrorCode, nil)}
				}
			}
		}
	}
	return results
}
