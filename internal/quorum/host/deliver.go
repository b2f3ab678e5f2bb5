package host

import (
	"context"

	metadatahost "github.com/moldau/moldau/internal/metadata/host"
)

// What is committed waits here for the loader, up to these bounds, and as much again on its way: a
// loader that is slow must not keep a voter from answering, or the others elect another leader.
const (
	deliveryBatches = 1024
	deliveryBytes   = 64 << 20
)

// delivery is what the loader has not taken yet.
type delivery struct {
	submit  func(context.Context, metadatahost.Batch) error
	batches chan []metadatahost.Batch
	failed  chan error
	// What follows belongs to the goroutine "quorum".
	waiting      []metadatahost.Batch
	waitingBytes int
}

func newDelivery(o Options) *delivery {
	return &delivery{submit: o.Submit, batches: make(chan []metadatahost.Batch), failed: make(chan error, 1)}
}

func (d *delivery) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case batches := <-d.batches:
			for _, b := range batches {
				if err := d.submit(ctx, b); err != nil {
					d.failed <- err
					return
				}
			}
		}
	}
}

func (d *delivery) add(b metadatahost.Batch) {
	d.waiting = append(d.waiting, b)
	for _, r := range b.Records {
		d.waitingBytes += len(r)
	}
}

// full reports whether nothing more should be committed here for now.
func (d *delivery) full() bool {
	return len(d.waiting) >= deliveryBatches || d.waitingBytes >= deliveryBytes
}

// next is the channel to send what waits to, nil if there is nothing.
func (d *delivery) next() chan<- []metadatahost.Batch {
	if len(d.waiting) == 0 {
		return nil
	}
	return d.batches
}

func (d *delivery) taken() { d.waiting, d.waitingBytes = nil, 0 }
