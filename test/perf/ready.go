package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// restart starts the broker and returns the time from exec until a record was acknowledged
// and every partition of the topics has given its last one. What the run before has written
// goes to disk first, so that no start pays for it.
func (r *run) restart(ctx context.Context, topics ...string) (time.Duration, error) {
	if err := exec.CommandContext(ctx, "sync").Run(); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := r.start(); err != nil {
		return 0, err
	}
	if err := firstProduce(ctx, r.addr(), topics[0], 0); err != nil {
		return 0, err
	}
	err := readAll(ctx, r.addr(), topics)
	return time.Since(began), err
}

// killUncleanly is kill, after which the broker's next start must recover its logs.
func (r *run) killUncleanly() error {
	if err := r.kill(); err != nil {
		return err
	}
	marker := filepath.Join(r.folder, "data", ".kafka_cleanshutdown") // the same in both
	if _, err := os.Stat(marker); err == nil {
		return fmt.Errorf("%s is there after kill -9", marker)
	}
	return nil
}

// readAll returns once every partition of the topics has given its last record.
func readAll(ctx context.Context, addr string, topics []string) error {
	client, err := kgo.NewClient(seeds(addr), kgo.RetryBackoffFn(func(int) time.Duration { return 5 * time.Millisecond }))
	if err != nil {
		return err
	}
	defer client.Close()
	broker := client.SeedBrokers()[0]
	unread, ids, err := partitionsOf(ctx, broker, topics)
	for attempt := 0; err == nil && len(unread) > 0; attempt++ {
		if err = ctx.Err(); err != nil {
			return fmt.Errorf("%d partitions are not readable: %w", len(unread), err)
		}
		if attempt > 0 {
			time.Sleep(time.Millisecond)
		}
		unread, err = readLast(ctx, broker, unread, ids)
	}
	return err
}

type partitionID struct {
	topic     string
	partition int32
}

func partitionsOf(ctx context.Context, broker *kgo.Broker, topics []string) (map[partitionID]bool, map[string][16]byte, error) {
	request := kmsg.NewPtrMetadataRequest()
	for _, name := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		request.Topics = append(request.Topics, t)
	}
	response, err := ask[*kmsg.MetadataResponse](ctx, broker, request)
	if err != nil {
		return nil, nil, err
	}
	found, ids := map[partitionID]bool{}, map[string][16]byte{}
	for _, t := range response.Topics {
		ids[*t.Topic] = t.TopicID
		for _, p := range t.Partitions {
			found[partitionID{*t.Topic, p.Partition}] = true
		}
	}
	return found, ids, nil
}

// readLast fetches the last record of partitions and returns those that gave none.
func readLast(ctx context.Context, broker *kgo.Broker, wanted map[partitionID]bool, ids map[string][16]byte) (map[partitionID]bool, error) {
	offsets, err := endOffsets(ctx, broker, wanted)
	if err != nil {
		return nil, err
	}
	request := kmsg.NewPtrFetchRequest()
	request.MaxWaitMillis, request.MinBytes, request.MaxBytes = 100, 1, 50<<20
	topics, names := map[string]int{}, map[[16]byte]string{}
	for id, offset := range offsets {
		i, ok := topics[id.topic]
		if !ok {
			i = len(request.Topics)
			topics[id.topic], names[ids[id.topic]] = i, id.topic
			t := kmsg.NewFetchRequestTopic()
			t.Topic, t.TopicID = id.topic, ids[id.topic]
			request.Topics = append(request.Topics, t)
		}
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.PartitionMaxBytes = id.partition, max(offset-1, 0), 1<<20
		request.Topics[i].Partitions = append(request.Topics[i].Partitions, p)
	}
	if len(request.Topics) == 0 {
		return wanted, nil
	}
	response, err := ask[*kmsg.FetchResponse](ctx, broker, request)
	if err != nil {
		return nil, err
	}
	for _, t := range response.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode == 0 && len(p.RecordBatches) > 0 {
				delete(wanted, partitionID{names[t.TopicID], p.Partition})
			}
		}
	}
	return wanted, nil
}

// endOffsets asks for the end offsets of partitions; those that cannot tell yet are left out.
func endOffsets(ctx context.Context, broker *kgo.Broker, wanted map[partitionID]bool) (map[partitionID]int64, error) {
	request := kmsg.NewPtrListOffsetsRequest()
	topics := map[string]int{}
	for id := range wanted {
		i, ok := topics[id.topic]
		if !ok {
			i = len(request.Topics)
			topics[id.topic] = i
			t := kmsg.NewListOffsetsRequestTopic()
			t.Topic = id.topic
			request.Topics = append(request.Topics, t)
		}
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp = id.partition, -1
		request.Topics[i].Partitions = append(request.Topics[i].Partitions, p)
	}
	response, err := ask[*kmsg.ListOffsetsResponse](ctx, broker, request)
	if err != nil {
		return nil, err
	}
	offsets := map[partitionID]int64{}
	for _, t := range response.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode == 0 && p.Offset > 0 {
				offsets[partitionID{t.Topic, p.Partition}] = p.Offset
			}
		}
	}
	return offsets, nil
}

// ask sends one request, again while the broker is not there.
func ask[R kmsg.Response](ctx context.Context, broker *kgo.Broker, request kmsg.Request) (R, error) {
	response, err := broker.RetriableRequest(ctx, request)
	if err != nil {
		var none R
		return none, fmt.Errorf("%s: %w", kmsg.NameForKey(request.Key()), err)
	}
	return response.(R), nil
}
