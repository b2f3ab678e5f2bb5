package server

import (
	"math/bits"
	"sync"
)

// Request buffers come in powers of two; the larger ones are left to the garbage collector.
const (
	smallestBufferBits = 10 // 1 KiB: what a request takes before a byte of it has arrived
	largestPooledBits  = 21
)

var bufferPools [largestPooledBits + 1]sync.Pool

// takeBuffer returns an empty buffer with a capacity of at least size bytes, and of no more than
// the next power of two.
func takeBuffer(size int) []byte {
	class := max(bits.Len(uint(size-1)), smallestBufferBits)
	if class > largestPooledBits {
		return make([]byte, 0, size)
	}
	if pooled, ok := bufferPools[class].Get().(*[]byte); ok {
		return (*pooled)[:0]
	}
	return make([]byte, 0, 1<<class)
}

// giveBuffer takes back a buffer that nobody refers to any more.
func giveBuffer(buffer []byte) {
	class := bits.Len(uint(cap(buffer))) - 1
	if class < smallestBufferBits || class > largestPooledBits || cap(buffer) != 1<<class {
		return
	}
	bufferPools[class].Put(&buffer)
}
