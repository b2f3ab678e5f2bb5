package nemesis

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/moldau/moldau/internal/kafkatest"
)

// replicasAgree stops all nodes and compares what they have on disk: the replicas of a partition hold the same bytes,
// since followers store batches as they get them, and every file is as `moldau audit` expects it.
func (c *cluster) replicasAgree(ctx context.Context) error {
	details, err := c.topics(ctx, topic)
	if err != nil {
		return err
	}
	for _, n := range c.up() {
		if err := n.terminate(stopping); err != nil {
			return fmt.Errorf("node %d after SIGTERM: %w", n.id, err)
		}
	}
	for _, p := range details[topic].Partitions.Sorted() {
		var first []byte
		for i, id := range p.Replicas {
			data, err := segments(filepath.Join(c.node(id).DataDir, fmt.Sprintf("%s-%d", topic, p.Partition)))
			if err != nil {
				return err
			}
			if i == 0 {
				first = data
			} else if !bytes.Equal(first, data) {
				return fmt.Errorf("partition %d: nodes %d and %d hold different bytes, %d and %d of them", p.Partition, p.Replicas[0], id, len(first), len(data))
			}
		}
	}
	for _, n := range c.nodes {
		if !n.member {
			continue
		}
		if out, err := exec.Command(kafkatest.Binary(c.t), "audit", n.DataDir).CombinedOutput(); err != nil {
			return fmt.Errorf("audit of node %d: %w\n%s", n.id, err, tail(string(out)))
		}
	}
	return nil
}

// segments are the bytes of a partition's log, in order.
func segments(folder string) (data []byte, err error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.log"))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	for _, f := range files {
		segment, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		data = append(data, segment...)
	}
	return data, nil
}
