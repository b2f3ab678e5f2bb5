package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/moldau/moldau/internal/tools/child"
	"github.com/moldau/moldau/internal/tools/cli"
)

// broker is a child process on a temporary folder.
type broker struct {
	*child.Broker
	folder string
}

// startBroker returns once the broker answers.
func startBroker(ctx context.Context, s cli.Streams, program string) (*broker, error) {
	folder, err := os.MkdirTemp("", "moldau-demo-")
	if err != nil {
		return nil, fmt.Errorf("creating a folder for the demo's data: %w", err)
	}
	started := time.Now()
	b, err := launch(program, folder)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	if err := b.AwaitReady(ctx); err != nil {
		return nil, errors.Join(err, b.stop())
	}
	s.Printf("A broker runs on %s, ready after %d ms, with its data in %s\n", b.Address, time.Since(started).Milliseconds(), folder)
	return b, nil
}

func launch(program, folder string) (*broker, error) {
	port, err := child.FreePort()
	if err != nil {
		return nil, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	process, err := child.Start(program, address, filepath.Join(folder, "broker.log"), "--data-dir", filepath.Join(folder, "data"),
		"--override", "listeners=PLAINTEXT://"+address, "--override", "http.listen=", "--override", "group.initial.rebalance.delay.ms=0")
	if err != nil {
		return nil, err
	}
	return &broker{process, folder}, nil
}

// stop ends the broker and removes its folder.
func (b *broker) stop() error {
	b.Stop()
	if err := os.RemoveAll(b.folder); err != nil {
		return fmt.Errorf("removing the demo's data: %w", err)
	}
	return nil
}
