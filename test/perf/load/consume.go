package load

import (
	"context"
	"errors"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// consume reads so many records of the topic from its start.
func (o *Order) consume(ctx context.Context) (*Result, error) {
	m, err := startMeter(o.BrokerPIDs)
	if err != nil {
		return nil, err
	}
	if err := o.read(ctx); err != nil {
		return nil, err
	}
	return m.stop(o.Records, o.ValueBytes)
}

func (o *Order) read(ctx context.Context) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(o.seeds()...), kgo.ConsumeTopics(o.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer client.Close()
	for read := 0; read < o.Records; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		read += fetches.NumRecords()
	}
	return nil
}

// catchUp reads the topic while a producer sends to another one at a fixed rate.
func (o *Order) catchUp(ctx context.Context) (*Result, error) {
	live, err := o.newPacer(o.LiveTopic)
	if err != nil {
		return nil, err
	}
	defer live.client.Close()
	if err := live.client.Ping(ctx); err != nil {
		return nil, err
	}
	m, err := startMeter(o.BrokerPIDs)
	if err != nil {
		return nil, err
	}
	pacing, stop := context.WithCancel(ctx)
	defer stop()
	var produced error
	var wait sync.WaitGroup
	wait.Go(func() { produced = live.run(ctx, pacing.Done()) })
	err = o.read(ctx)
	result, meterErr := m.stop(o.Records, o.ValueBytes)
	stop()
	wait.Wait()
	if err := errors.Join(err, meterErr, produced); err != nil {
		return nil, err
	}
	result.Acknowledged = live.acknowledged.Percentiles()
	return result, nil
}
