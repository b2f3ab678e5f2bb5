package replica

import (
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/moldau/moldau/internal/storage/segment"
)

// fetchMemory bounds what all fetches hold together: from reading until the response is written,
// which is up to a client that may read slowly or not at all. Where little is left, fetches get
// little, but always a first batch: that fits a socket's buffer, and so is given back soon.
type fetchMemory struct {
	limit int64
	used  atomic.Int64
}

func (m *fetchMemory) left() int { return int(max(m.limit-m.used.Load(), 0)) }

// Buffers are the pieces of memory that one fetch reads into, and the parts of files that it need not
// read. They have one owner: the fetch,
// then its response, which releases them once it is written.
type Buffers struct {
	memory  *fetchMemory // set by Fetch
	held    []*buffer
	current *buffer // of the read that is going on
	files   []*segment.FileRange

	results []FetchResult // of the latest Fetch
	seen    []seen
}

// mostKept is for how many partitions the memory of results is used again.
const mostKept = 4096

// Reset releases everything, for another use of b: the results of its latest Fetch, too.
func (b *Buffers) Reset() {
	b.Release()
	if cap(b.results) > mostKept {
		b.results, b.seen = nil, nil
	}
	clear(b.results)
	clear(b.seen)
}

func (b *Buffers) resultsFor(n int) ([]FetchResult, []seen) {
	if n > cap(b.results) {
		b.results, b.seen = make([]FetchResult, n), make([]seen, n)
	}
	b.results, b.seen = b.results[:n], b.seen[:n]
	return b.results, b.seen
}

// extendTo keeps the results that there are, for more partitions.
func (b *Buffers) extendTo(n int) ([]FetchResult, []seen) {
	results, known := b.results, b.seen
	b.resultsFor(n)
	if n > len(results) {
		clear(b.results[copy(b.results, results):])
		clear(b.seen[copy(b.seen, known):])
	}
	return b.results, b.seen
}

// Size classes are powers of two; larger pieces are rare and left to the collector.
const (
	smallestClassBits = 12 // 4 KiB
	largestClassBits  = 23 // 8 MiB
)

type buffer struct {
	b     []byte
	class int
}

var bufferPools [largestClassBits - smallestClassBits + 1]sync.Pool

func getBuffer(n int) *buffer {
	class := max(bits.Len(uint(max(n, 1)-1)), smallestClassBits) - smallestClassBits
	if class >= len(bufferPools) {
		return &buffer{b: make([]byte, n), class: -1}
	}
	if b, ok := bufferPools[class].Get().(*buffer); ok {
		return b
	}
	return &buffer{b: make([]byte, 1<<(class+smallestClassBits)), class: class}
}

func (b *buffer) put() {
	if b.class >= 0 {
		bufferPools[b.class].Put(b)
	}
}

// next returns memory for the read that is going on, which gives up what it got before.
func (b *Buffers) next(n int) []byte {
	if b.current != nil {
		b.put(b.current)
	}
	b.current = getBuffer(n)
	b.memory.used.Add(int64(len(b.current.b)))
	return b.current.b[:n]
}

// endRead keeps the memory of a read that found records and returns that of one that did not.
func (b *Buffers) endRead(found bool) {
	switch {
	case b.current == nil:
	case found:
		b.held = append(b.held, b.current)
	default:
		b.put(b.current)
	}
	b.current = nil
}

func (b *Buffers) put(one *buffer) {
	b.memory.used.Add(-int64(len(one.b)))
	one.put()
}

// Release gives everything back. Nothing that was read may be used after it.
func (b *Buffers) Release() {
	for _, held := range b.held {
		b.put(held)
	}
	clear(b.held)
	b.held = b.held[:0]
	for _, file := range b.files {
		file.Release()
	}
	clear(b.files)
	b.files = b.files[:0]
}

// hold keeps the part of a file that a read has found, if any. It takes no memory.
func (b *Buffers) hold(file *segment.FileRange) {
	if file != nil {
		b.files = append(b.files, file)
	}
}
