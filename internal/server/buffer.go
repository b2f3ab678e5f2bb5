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

func bufferClass(size int) int { return max(bits.Len(uint(size-1)), smallestBufferBits) }

// bufferBytes is the capacity of the buffer that takeBuffer(size) returns: at least size, and no
// more than the next power of two.
func bufferBytes(size int) int {
	if class := bufferClass(size); class <= largestPooledBits {
		return 1 << class
	}
	return size
}

// takeBuffer returns an empty buffer for size bytes. It travels as a pointer, which the pools take
// without allocating.
func takeBuffer(size int) *[]byte {
	class := bufferClass(size)
	capacity := size
	if class <= largestPooledBits {
		if pooled, ok := bufferPools[class].Get().(*[]byte); ok {
			return pooled
		}
		capacity = 1 << class
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
