package cluster

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage"
)

// flip changes a bit of what a node has stored, or a few of them, where all is in sync and the fault budget allows for it. Whoever reads it has it mended. Until that
// has happened the node may lose what is behind the bit, since a start cuts a log at damage that is not flushed for certain.
func (w *World) flip(n *Node) {
	w.restore()
	if n.process == nil || w.plan.flips == 0 || w.plan.beyond || !w.isWhole() || !w.mayLose(n) {
		return
	}
	logs := n.process.storage.Logs()
	for range w.between(1, 3) {
		if len(logs) == 0 {
			return
		}
		l := logs[w.random.IntN(len(logs))]
		if f := w.logFile(n, l); f != "" && w.plan.flips > 0 && w.turn(n, l, f) {
			w.plan.flips--
			w.count["flipped"]++
			w.budget.flipped[n.id], w.budget.suspects[n.id] = true, true
		}
	}
}

// logFile names one of the segments of a log that have data, "" if none has.
func (w *World) logFile(n *Node, l *storage.Log) string {
	mem, folder := n.process.disk.Mem, filepath.Join(dataDir, l.TopicPartition().String())
	entries, err := mem.ReadDir(folder)
	if err != nil {
		return ""
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".log") {
			names = append(names, filepath.Join(folder, e.Name()))
		}
	}
	if len(names) == 0 {
		return ""
	}
	return names[w.random.IntN(len(names))]
}

const epochFrom, epochTo = 12, 16 // where a batch has its leader epoch

// turn turns a bit of a batch in a file that another replica has, too: what nobody else has cannot be mended. Its leader epoch is left alone: no
// checksum covers it, so what is not flushed has, after a kill, the epochs that it says, where no other batch contradicts that.
func (w *World) turn(n *Node, l *storage.Log, path string) bool {
	mem := n.process.disk.Mem
	data, err := vfs.ReadFile(mem, path, 1<<30)
	if err != nil || len(data) == 0 {
		return false
	}
	target := w.random.IntN(len(data))
	for at, rest := 0, data; len(rest) > 0; {
		b, next, err := record.Next(rest)
		if err != nil {
			return false // it is damaged already
		}
		if at, rest = at+len(b), next; at <= target {
			continue
		}
		if in := target - (at - len(b)); in >= epochFrom && in < epochTo || !w.isElsewhere(n, l, b) {
			return false
		}
		f, err := mem.Open(path, true)
		if err != nil {
			return false
		}
		defer f.Close()
		_, err = f.WriteAt([]byte{data[target] ^ 1<<w.random.IntN(8)}, int64(target))
		w.note("a bit of byte %d of %s on node %d is another, in the batch at offset %d: %v", target, path, n.id, b.BaseOffset(), err)
		return err == nil
	}
	return false
}

// isElsewhere reports whether another node has a batch, too.
func (w *World) isElsewhere(n *Node, l *storage.Log, b record.Batch) bool {
	for _, p := range w.up() {
		r, err := p.replicas.Lookup(l.TopicPartition())
		if p.node == n || err != nil || r.TopicID() != l.TopicID() {
			continue
		}
		if other := r.Log(); other.LogStartOffset() <= b.BaseOffset() && b.LastOffset() < other.LogEndOffset() && other.EpochForOffset(b.BaseOffset()) == b.PartitionLeaderEpoch() {
			return true
		}
	}
	return false
}

// isFlipped reports whether a node may have damage that is not mended.
func (w *World) isFlipped(n *Node) bool { return w.budget.flipped[n.id] }

// whyDamaged reads all that the nodes have in which bits were turned, and says what cannot be read, "" if everything can. What it meets is
// mended then.
func (w *World) whyDamaged() string {
	for _, n := range w.nodes {
		if !w.isFlipped(n) {
			continue
		}
		if n.process == nil {
			return fmt.Sprintf("node %d is down", n.id)
		}
		for _, l := range n.process.storage.Logs() {
			if r, err := n.process.replicas.Lookup(l.TopicPartition()); err != nil || r.Log() != l {
				continue // it is about to be deleted
			}
			if err := readThrough(l); err != nil {
				return fmt.Sprintf("%s on node %d: %v", l.TopicPartition(), n.id, err)
			}
		}
	}
	return ""
}

func readThrough(l *storage.Log) error {
	for offset, end := l.LogStartOffset(), l.LogEndOffset(); offset < end; {
		r, err := l.Read(storage.ReadRequest{Offset: offset, MaxBytes: 1 << 20, MinOneBatch: true, UpTo: end})
		if err != nil {
			return err
		}
		next := r.NextOffset(offset)
		if next == offset {
			return fmt.Errorf("there is nothing to read at offset %d, and the log ends at %d", offset, end)
		}
		offset = next
	}
	return nil
}

// isDamage reports whether err says that a node has met what was damaged there on purpose.
func (w *World) isDamage(n *Node, err error) bool {
	return w.isFlipped(n) && kafka.CodeOf(err) == kafka.ErrCorruptMessage
}
