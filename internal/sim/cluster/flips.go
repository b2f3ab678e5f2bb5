package cluster

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/record"
)

// flip changes a bit of what a node has stored of a topic, where the others have it, too.
func (w *World) flip(n *Node) {
	w.restore()
	if n.process == nil || w.plan.flips == 0 || w.plan.beyond || len(w.budget.suspects) > 0 || w.whyNotInSync() != "" || !w.mayLose(n) {
		return
	}
	mem := n.process.disk.Mem
	t := w.latest.TopicByName("orders")
	if t == nil {
		return
	}
	folder := fmt.Sprintf("%s/%s-%d", dataDir, t.Name, w.random.IntN(len(t.Partitions)))
	entries, err := mem.ReadDir(folder)
	if err != nil {
		return
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".log") {
			f := &flippedBit{node: n, path: folder + "/" + e.Name(), mask: 1 << w.random.IntN(8)}
			if f.turn(mem, w) {
				w.note("a bit of %s at %d on node %d is another", f.path, f.start+f.position, n.id)
				w.plan.flips--
				w.count["flipped"]++
				w.flips = append(w.flips, f)
				w.budget.suspects[n.id] = true
			}
			return
		}
	}
}

// flippedBit is one that a disk has turned.
type flippedBit struct {
	node     *Node
	path     string
	start    int64 // of the batch in the file
	position int64 // in the batch
	mask     byte
	around   []byte // the batch since
}

// turn turns the bit, of any byte of the file.
func (f *flippedBit) turn(mem *vfs.Mem, w *World) bool {
	file, err := mem.Open(f.path, true)
	if err != nil {
		return false
	}
	defer file.Close()
	size, err := file.Size()
	if err != nil {
		return false
	}
	data := make([]byte, size)
	if _, err := file.ReadAt(data, 0); err != nil {
		return false
	}
	// What the CRC does not cover, in front of it, is left to the tests of storage.
	for at, rest := int64(0), data; len(rest) > 0; {
		b, next, err := record.Next(rest)
		if err != nil {
			break
		}
		if f.around == nil || w.oneIn(3) {
			f.around = bytes.Clone(b)
			f.start, f.position = at, w.between(crcCovers, int64(len(b))-1)
		}
		at, rest = at+int64(len(b)), next
	}
	if f.around == nil {
		return false
	}
	f.around[f.position] ^= f.mask
	_, err = file.WriteAt(f.around[f.position:f.position+1], f.start+f.position)
	return err == nil
}

// crcCovers is where in a batch that begins which its CRC covers.
const crcCovers = 21

// mend turns the bit back if it is still there.
func (f *flippedBit) mend() {
	mem := f.node.mem
	if p := f.node.process; p != nil {
		mem = p.disk.Mem
	}
	file, err := mem.Open(f.path, true)
	if err != nil {
		return
	}
	defer file.Close()
	now := make([]byte, len(f.around))
	if _, err := file.ReadAt(now, f.start); err == nil && bytes.Equal(now, f.around) {
		_, _ = file.WriteAt([]byte{now[f.position] ^ f.mask}, f.start+f.position)
	}
}
