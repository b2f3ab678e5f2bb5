package server

import (
	"math/bits"
	"sync"
)

// Request buffers come in powers of two, up to what a request of six batches of 1 MB takes and more:
// fresh pages cost as much as the request itself. Larger ones are left to the garbage collector.
const (
	smallestBufferBits = 10 // 1 KiB: what a request takes before a byte of it has arrived
	largestPooledBits  = 24
)

var bufferPools [largestPooledBits + 1]sync.Pool

func bufferClass(size int) int { return max(bits.Len(uint(size-1)), smallestBufferBits) }

// bufferBytes is the capacity of the buffer for size bytes under a budget: at least size, and no more
// than the next power of two. A large one is not rounded up to more than an eighth of the budget,
// where it might never fit.
func (b *budget) bufferBytes(size int) int {
	class := bufferClass(size)
	if class <= largestPooledBits && (class <= alwaysPooledBits || int64(1)<<class <= b.limit/8) {
		return 1 << class
	}
	return size
}

const alwaysPooledBits = 21

// takeBuffer returns an empty buffer of a capacity that bufferBytes gave. It travels as a pointer,
// which the pools take without allocating.
func takeBuffer(capacity int) *[]byte {
	if class := bufferClass(capacity); class <= largestPooledBits && capacity == 1<<class {
		if pooled, ok := bufferPools[class].Get().(*[]byte); ok {
			return pooled
		}
	}
	buffer := make([]byte, 0, capacity)
	return &buffer
}

// giveBuffer takes back a buffer that nobody refers to any more.
func giveBuffer(buffer *[]byte) {
	class := bits.Len(uint(cap(*buffer))) - 1
	if class < smallestBufferBits || class > largestPooledBits || cap(*buffer) != 1<<class {
		return
	}
	bufferPools[class].Put(buffer)
}
