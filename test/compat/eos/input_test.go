//go:build unix

package eos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// outcome says how a transaction of the input ended.
type outcome int8

const (
	aborted outcome = iota
	committed
	// unsure is one whose end was answered with an error.
	unsure
)

// batch is one transaction of the input.
type batch struct {
	values  []string
	outcome outcome
}

// input writes the input in transactions, about one in five of which is aborted.
type input struct {
	bootstrap string
	random    *rand.Rand
	records   atomic.Int64 // committed
	mu        sync.Mutex
	batches   []batch
}

const (
	keys         = 40
	wordsInValue = 4
	batchRecords = 20
)

// run writes until ctx ends. mayWrite returns when the programs have nearly caught up.
func (in *input) run(ctx context.Context, mayWrite func() error) error {
	for ctx.Err() == nil {
		client, err := kgo.NewClient(kgo.SeedBrokers(in.bootstrap), kgo.TransactionalID("input"), kgo.TransactionTimeout(30*time.Second),
			kgo.DefaultProduceTopic(inputTopic), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)), kgo.ProducerLinger(0))
		if err != nil {
			return err
		}
		for err == nil && ctx.Err() == nil {
			if err = mayWrite(); err == nil {
				err = in.transaction(client)
			}
		}
		client.Close() // after an error another client goes on; it ends what this one has left
	}
	return nil
}

// transaction writes one batch. It returns an error if the client cannot go on.
func (in *input) transaction(client *kgo.Client) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	b, number := batch{}, len(in.batches)
	wanted := committed
	if in.random.IntN(5) == 0 {
		wanted = aborted
	}
	if err := client.BeginTransaction(); err != nil {
		return err
	}
	var sending []*kgo.Record
	for i := range batchRecords {
		value := fmt.Sprintf("b%d.%d w%d w%d w%d", number, i, in.random.IntN(30), in.random.IntN(30), in.random.IntN(300))
		if wanted == aborted {
			value = strings.ReplaceAll(value, "w", "aborted")
		}
		b.values = append(b.values, value)
		sending = append(sending, kgo.KeySliceRecord(fmt.Appendf(nil, "key-%d", in.random.IntN(keys)), []byte(value)))
	}
	failed := client.ProduceSync(ctx, sending...).FirstErr()
	if failed != nil {
		wanted = aborted
	}
	b.outcome = wanted
	err := client.EndTransaction(ctx, kgo.TransactionEndTry(wanted == committed))
	if err != nil && wanted == committed {
		b.outcome = unsure
	}
	in.mu.Lock()
	in.batches = append(in.batches, b)
	in.mu.Unlock()
	if b.outcome == committed {
		in.records.Add(batchRecords)
	}
	return err
}
