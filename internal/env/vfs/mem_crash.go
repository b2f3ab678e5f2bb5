package vfs

import (
	"maps"
	"slices"

	"github.com/moldau/moldau/internal/env"
)

// KillClone returns a copy in the state after kill -9: every write is there, synced or not,
// and locks are free.
func (m *Mem) KillClone() *Mem {
	m.mu.RLock()
	defer m.mu.RUnlock()
	copies := map[*memNode]*memNode{}
	return &Mem{root: m.root.clone(copies), now: m.now, totalBytes: m.totalBytes}
}

func (n *memNode) clone(copies map[*memNode]*memNode) *memNode {
	if n == nil {
		return nil
	}
	if c, ok := copies[n]; ok {
		return c
	}
	c := &memNode{
		data: slices.Clone(n.data), syncedSize: n.syncedSize, dirty: maps.Clone(n.dirty), modified: n.modified,
	}
	copies[n] = c
	if !n.isFolder() {
		return c
	}
	cloneEntries := func(entries map[string]*memNode) map[string]*memNode {
		result := make(map[string]*memNode, len(entries))
		for name, child := range entries {
			result[name] = child.clone(copies)
		}
		return result
	}
	c.entries, c.synced = cloneEntries(n.entries), cloneEntries(n.synced)
	for _, change := range n.journal {
		c.journal = append(c.journal, memEntryChange{change.remove, change.name, change.node.clone(copies)})
	}
	return c
}

// CrashClone returns a copy in a state after power loss. Of every folder some prefix of
// the changes since its last sync is there; of every file an arbitrary part of what was
// written since its last sync, in units smaller than a page, with any size between the
// synced one and the present one. The same random numbers give the same state.
func (m *Mem) CrashClone(random env.Random) *Mem {
	m.mu.RLock()
	defer m.mu.RUnlock()
	copies := map[*memNode]*memNode{}
	return &Mem{root: m.root.crash(random, copies), now: m.now, totalBytes: m.totalBytes}
}

func (n *memNode) crash(random env.Random, copies map[*memNode]*memNode) *memNode {
	if c, ok := copies[n]; ok {
		return c
	}
	c := &memNode{modified: n.modified}
	copies[n] = c
	if !n.isFolder() {
		c.data = n.crashData(random)
		c.syncedSize, c.dirty = int64(len(c.data)), map[int64][]byte{}
		return c
	}
	survivor := &memNode{entries: maps.Clone(n.synced)}
	for _, change := range n.journal[:below(random, len(n.journal)+1)] {
		survivor.change(change)
	}
	c.entries = make(map[string]*memNode, len(survivor.entries))
	for _, name := range slices.Sorted(maps.Keys(survivor.entries)) {
		c.entries[name] = survivor.entries[name].crash(random, copies)
	}
	c.synced = maps.Clone(c.entries)
	return c
}

func below(random env.Random, n int) int { return int(random.Uint64() % uint64(n)) }

// crashSectorBytes is what a disk writes at once; a page may be torn between two.
const crashSectorBytes = 512

func (n *memNode) crashData(random env.Random) []byte {
	live, synced := int64(len(n.data)), n.syncedSize
	size := live
	// Most often the size is one of the two, else anything between.
	switch low := min(live, synced); below(random, 4) {
	case 0:
		size = synced
	case 1:
		size = low + int64(below(random, int(max(live, synced)-low)+1))
	}
	data := make([]byte, size)
	for start := int64(0); start < size; start += crashSectorBytes {
		sector := data[start:min(start+crashSectorBytes, size)]
		page := start / memPageBytes
		before, changed := n.dirty[page]
		switch {
		case start < synced && !changed:
			n.copyFrom(sector, start) // synced and untouched since
			if start+crashSectorBytes > synced && below(random, 4) == 0 {
				clear(sector[min(int64(len(sector)), synced-start):])
			}
		case below(random, 4) != 0:
			n.copyFrom(sector, start) // the new content made it
		case changed && start-page*memPageBytes < int64(len(before)):
			copy(sector, before[start-page*memPageBytes:])
		}
	}
	return data
}

func (n *memNode) copyFrom(sector []byte, start int64) {
	if start < int64(len(n.data)) {
		copy(sector, n.data[start:])
	}
}
