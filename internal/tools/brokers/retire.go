package brokers

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/balance"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

// lookInterval is the time between looks at how far a broker is.
const lookInterval = 500 * time.Millisecond

// Drain has a broker emptied, and with wait returns when it is.
func Drain(ctx context.Context, s cli.Streams, o Options, broker string, wait bool) error {
	admin, id, err := openFor(s, o, broker)
	if err != nil {
		return err
	}
	defer admin.Close()
	if err := beginDrain(ctx, s, admin, id); err != nil || !wait {
		return err
	}
	return awaitEmpty(ctx, s, admin, id)
}

// CancelDrain lets a broker keep what it still has, and be given new replicas.
func CancelDrain(ctx context.Context, s cli.Streams, o Options, broker string) error {
	admin, id, err := openFor(s, o, broker)
	if err != nil {
		return err
	}
	defer admin.Close()
	if err := change(ctx, admin, drainingConfig, kmsg.IncrementalAlterConfigOpSubtract, broker); err != nil {
		return err
	}
	s.Printf("Broker %d is drained no more. What has been moved off it stays where it is; moldau balance gives it its share.\n", id)
	return nil
}

// Remove empties a broker, waits until it is stopped, and has the cluster forget it.
func Remove(ctx context.Context, s cli.Streams, o Options, broker string) error {
	admin, id, err := openFor(s, o, broker)
	if err != nil {
		return err
	}
	defer admin.Close()
	if err := beginDrain(ctx, s, admin, id); err != nil {
		return err
	}
	if err := awaitEmpty(ctx, s, admin, id); err != nil {
		return err
	}
	told := false
	err = poll(ctx, admin, func(status balance.Status) (bool, error) {
		b, err := find(status, id)
		if err != nil || b.State == "fenced" || b.State == "unregistered" {
			return true, err
		}
		if !told {
			told = true
			s.Printf("Broker %d is empty. Stop its process now (SIGTERM): it is removed as soon as it has gone.\n", id)
		}
		return false, nil
	})
	if err != nil {
		return err
	}
	if err := unregister(ctx, admin, id); err != nil {
		return err
	}
	s.Printf("Broker %d is removed.\n", id)
	return nil
}

// Even has the load of all brokers evened out once.
func Even(ctx context.Context, s cli.Streams, o Options) error {
	admin, err := open(s, o)
	if err != nil {
		return err
	}
	defer admin.Close()
	status, err := StatusOf(ctx, admin)
	if err != nil {
		return err
	}
	var all []int32
	for _, b := range status.Brokers {
		if b.State == "active" && !b.IsDraining {
			all = append(all, b.Load.Broker)
		}
	}
	if len(all) < 2 {
		return fmt.Errorf("there is nothing to even out: %s", status.Why)
	}
	if err := change(ctx, admin, joiningConfig, kmsg.IncrementalAlterConfigOpAppend, ids(all)); err != nil {
		return err
	}
	s.Println("The load of brokers " + ids(all) + " is being evened out; moldau balance status shows how far it is.")
	return nil
}

// beginDrain asks for a broker to be emptied, if there are enough others.
func beginDrain(ctx context.Context, s cli.Streams, admin *client.Client, id int32) error {
	status, err := StatusOf(ctx, admin)
	if err != nil {
		return err
	}
	b, err := find(status, id)
	if err != nil {
		return err
	}
	left := 0
	for _, other := range status.Brokers {
		if other.State == "active" && !other.IsDraining && other.Load.Broker != id {
			left++
		}
	}
	topic, factor, err := mostReplicated(ctx, admin, id)
	if err != nil {
		return err
	}
	if factor > left {
		return fmt.Errorf("broker %d cannot be emptied: topic %s has replication factor %d, and %d other brokers are active. Add a broker first, or lower the replication factor (moldau reassign-partitions)",
			id, topic, factor, left)
	}
	if b.IsDraining {
		return nil
	}
	if err := change(ctx, admin, drainingConfig, kmsg.IncrementalAlterConfigOpAppend, fmt.Sprint(id)); err != nil {
		return err
	}
	s.Printf("Broker %d is being emptied: %d replicas. moldau balance status shows how far it is, moldau brokers drain %d --cancel ends it.\n", id, b.Replicas, id)
	return nil
}

// awaitEmpty returns when a broker has no replicas, and says how far that is.
func awaitEmpty(ctx context.Context, s cli.Streams, admin *client.Client, id int32) error {
	said, replicas := "", int64(-1)
	return poll(ctx, admin, func(status balance.Status) (bool, error) {
		b, err := find(status, id)
		if err != nil {
			return true, err
		}
		if b.Replicas != replicas {
			replicas = b.Replicas
			s.Printf("Broker %d has %d replicas.\n", id, replicas)
		}
		if status.State == "stalled" && status.Why != said {
			s.Println("Stalled: " + status.Why + ".")
		}
		said = status.Why
		if !b.IsDraining {
			return true, fmt.Errorf("broker %d is drained no more: somebody has cancelled it", id)
		}
		return replicas == 0, nil
	})
}

// poll looks at the balancer until done says so. The cluster may be without a controller for a moment.
func poll(ctx context.Context, admin *client.Client, done func(balance.Status) (bool, error)) error {
	for failures := 0; ; {
		status, err := StatusOf(ctx, admin)
		if err == nil {
			failures = 0
			if isDone, err := done(status); isDone || err != nil {
				return err
			}
		} else if failures++; failures == 10 || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lookInterval):
		}
	}
}
