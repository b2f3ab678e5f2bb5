package client

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
)

// AwaitTopic waits, up to max.block.ms, until the cluster knows the topic, which creates it
// where the cluster does so on first use.
func (c *Client) AwaitTopic(ctx context.Context, topic string) error {
	limit, cancel := context.WithTimeout(ctx, c.MaxBlock)
	defer cancel()
	for {
		err := c.askTopic(limit, topic)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, kafka.ErrInvalidTopicException):
			return &Error{Code: kafka.ErrInvalidTopicException, Message: "Invalid topics: [" + topic + "]"}
		case errors.Is(err, kafka.ErrTopicAuthorizationFailed):
			return &Error{Code: kafka.ErrTopicAuthorizationFailed, Message: "Not authorized to access topics: [" + topic + "]"}
		case ctx.Err() != nil:
			return ctx.Err()
		case limit.Err() != nil:
			return &Error{Code: kafka.ErrRequestTimedOut,
				Message: fmt.Sprintf("Topic %s not present in metadata after %d ms.", topic, c.MaxBlock.Milliseconds())}
		}
		select {
		case <-limit.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (c *Client) askTopic(ctx context.Context, name string) error {
	req := kmsg.NewPtrMetadataRequest()
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = kmsg.StringPtr(name)
	req.Topics = append(req.Topics, topic)
	req.AllowAutoTopicCreation = true
	resp, err := within(ctx, func() (*kmsg.MetadataResponse, error) { return req.RequestWith(ctx, c.Client) })
	if err != nil {
		return err
	}
	if len(resp.Topics) != 1 {
		return fmt.Errorf("the broker answered for %d topics instead of one", len(resp.Topics))
	}
	return FromCode(resp.Topics[0].ErrorCode, nil)
}

// DescribeTooLarge gives a record that exceeds max.request.size the words of Kafka's producer,
// and leaves other errors as they are.
func DescribeTooLarge(err error, record *kgo.Record, maxRequestSize int) error {
	size := serializedSize(record)
	if size <= maxRequestSize || !errors.Is(err, kafka.ErrMessageTooLarge) {
		return err
	}
	return &Error{Code: kafka.ErrMessageTooLarge, Message: fmt.Sprintf(
		"The message is %d bytes when serialized which is larger than %d, which is the value of the max.request.size configuration.", size, maxRequestSize)}
}

// serializedSize is the most that a batch with one record takes, as Kafka's producer reckons.
func serializedSize(r *kgo.Record) int {
	const batchOverhead, recordOverhead = 61, 21
	field := func(b []byte) int { return len(binary.AppendVarint(nil, int64(len(b)))) + len(b) }
	size := batchOverhead + recordOverhead + field(r.Key) + field(r.Value) + len(binary.AppendVarint(nil, int64(len(r.Headers))))
	for _, h := range r.Headers {
		size += field([]byte(h.Key)) + field(h.Value)
	}
	return size
}
