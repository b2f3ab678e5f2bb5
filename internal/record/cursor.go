package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
)

// Limits of what a batch may hold uncompressed. The ratio alone would let a batch at the
// largest message size grow without bound, the absolute limit alone would let many small
// ones do so; under the floor any ratio is fine, since zeros compress ten thousandfold.
const (
	maxUncompressedBytes   = 256 << 20
	maxUncompressedRatio   = 1024
	uncompressedFloorBytes = 16 << 20
)

// ErrTooLarge says that a compressed batch holds more than the limit it was read under.
var ErrTooLarge = errors.New("uncompressed records exceed the limit")

var errTruncated = errors.New("the records end too early")

// UncompressedLimit is how many bytes a batch of compressedBytes may hold uncompressed.
func UncompressedLimit(compressedBytes int) int64 {
	return min(maxUncompressedBytes, max(uncompressedFloorBytes, int64(compressedBytes)*maxUncompressedRatio))
}

// windowBytes is how much of a decompressed stream a cursor looks at at a time.
const windowBytes = 16 << 10

// cursor walks the records of a batch: over the batch's own bytes where they are not
// compressed, else over a window that it fills from the decompressor. It never holds more
// than twice what it has received, whatever the lengths in the stream claim.
type cursor struct {
	buf      []byte // bytes at hand
	pos      int    // next byte to read in buf
	passed   int64  // bytes of the stream before buf[0]
	limit    int64  // most bytes the stream may have
	src      io.Reader
	decoder  decoder // of src, to be returned to its pool
	window   []byte  // own memory behind buf for streams
	received int64
}

var cursorPool = sync.Pool{New: func() any { return new(cursor) }}

// maxPooledWindow keeps a cursor that once held a huge record from pinning its memory.
const maxPooledWindow = 1 << 20

// open points the cursor at the records of b, limited to limitBytes uncompressed.
func (c *cursor) open(b Batch, limitBytes int64) error {
	c.pos, c.passed, c.limit, c.received = 0, 0, limitBytes, 0
	if b.Codec() == CodecNone {
		c.buf = b.body()
		return nil
	}
	d, err := openDecoder(b.Codec(), b.body(), limitBytes)
	if err != nil {
		return err
	}
	if c.window == nil {
		c.window = make([]byte, windowBytes)
	}
	c.buf, c.src, c.decoder = c.window[:0], d, d
	return nil
}

// release returns the cursor and its decompressor to their pools.
func (c *cursor) release() {
	if c.decoder != nil {
		c.decoder.release()
	}
	window := c.window
	if cap(window) > maxPooledWindow {
		window = nil
	}
	*c = cursor{window: window}
	cursorPool.Put(c)
}

// consumed is the position in the uncompressed stream.
func (c *cursor) consumed() int64 { return c.passed + int64(c.pos) }

// fill makes at least one more byte available beyond what buf holds.
func (c *cursor) fill() error {
	if c.src == nil {
		return errTruncated
	}
	if c.pos > 0 { // move what is left to the front
		n := copy(c.window, c.buf[c.pos:])
		c.passed += int64(c.pos)
		c.buf, c.pos = c.window[:n], 0
	}
	if len(c.buf) == len(c.window) {
		bigger := make([]byte, 2*len(c.window))
		n := copy(bigger, c.buf)
		c.window, c.buf = bigger, bigger[:n]
	}
	for range 100 { // as bufio: a reader that gives nothing again and again is broken
		n, err := c.src.Read(c.window[len(c.buf):])
		c.received += int64(n)
		if c.received > c.limit {
			return fmt.Errorf("%w of %d bytes", ErrTooLarge, c.limit)
		}
		if n > 0 {
			c.buf = c.window[:len(c.buf)+n]
			return nil
		}
		if err == io.EOF {
			return errTruncated
		}
		if err != nil {
			return fmt.Errorf("decompress: %w", err)
		}
	}
	return fmt.Errorf("decompress: %w", io.ErrNoProgress)
}

// take returns the next n bytes; they stay valid until the next call.
func (c *cursor) take(n int) ([]byte, error) {
	for len(c.buf)-c.pos < n {
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
	b := c.buf[c.pos : c.pos+n : c.pos+n]
	c.pos += n
	return b, nil
}

// skip passes over n bytes without keeping them.
func (c *cursor) skip(n int64) error {
	for {
		have := int64(len(c.buf) - c.pos)
		if n <= have {
			c.pos += int(n)
			return nil
		}
		c.pos = len(c.buf)
		n -= have
		if err := c.fill(); err != nil {
			return err
		}
	}
}

func (c *cursor) byte() (byte, error) {
	if c.pos == len(c.buf) {
		if err := c.fill(); err != nil {
			return 0, err
		}
	}
	b := c.buf[c.pos]
	c.pos++
	return b, nil
}

// varint reads a zigzag varint of at most 64 bits.
func (c *cursor) varint() (int64, error) {
	if c.pos < len(c.buf) { // most are one byte
		if b := c.buf[c.pos]; b < 0x80 {
			c.pos++
			return int64(b>>1) ^ -int64(b&1), nil
		}
	}
	return c.longVarint()
}

var errVarint = errors.New("a varint is too long")

func (c *cursor) longVarint() (int64, error) {
	var u uint64
	for shift := 0; shift < 70; shift += 7 {
		b, err := c.byte()
		if err != nil {
			return 0, err
		}
		if shift == 63 && b > 1 {
			return 0, errVarint
		}
		u |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return int64(u>>1) ^ -int64(u&1), nil
		}
	}
	return 0, errVarint
}

// length reads a varint that counts bytes or items and must fit 31 bits; least is -1 where
// the value may be null, else 0.
func (c *cursor) length(least int64) (int64, error) {
	n, err := c.varint()
	if err != nil {
		return 0, err
	}
	if n < least || n > math.MaxInt32 {
		return 0, errLength
	}
	return n, nil
}

var (
	errLength   = errors.New("a length in the record is out of range")
	errOverrun  = errors.New("the fields of the record exceed its size")
	errLeftover = errors.New("the record is larger than its fields")
)

// recordHead is what the walk learns of a record whose payload it skips.
type recordHead struct {
	timestampDelta int64
	offsetDelta    int64
	hasKey         bool
}

// skipRecord passes over one record, checking that its fields agree with its size.
func (c *cursor) skipRecord() (recordHead, error) {
	size, err := c.length(1)
	if err != nil {
		return recordHead{}, err
	}
	if size <= int64(len(c.buf)-c.pos) {
		data := c.buf[c.pos : c.pos+int(size)]
		c.pos += int(size)
		return headOf(data)
	}
	if c.src == nil {
		return recordHead{}, errTruncated
	}
	return c.streamRecord(c.consumed() + size)
}

// headOf walks the fields of a record that lies in one piece. It is the innermost loop of
// every produce request.
func headOf(data []byte) (h recordHead, err error) {
	i := 1 // attributes: no bit has a meaning
	if h.timestampDelta, i = varintAt(data, i); i < 0 {
		return h, errVarintAt(i)
	}
	if h.offsetDelta, i = varintAt(data, i); i < 0 {
		return h, errVarintAt(i)
	}
	n, i := varintAt(data, i)
	if i < 0 {
		return h, errVarintAt(i)
	}
	if h.hasKey = n >= 0; h.hasKey {
		if n > int64(len(data)-i) {
			return h, errOverrun
		}
		i += int(n)
	} else if n < -1 {
		return h, errLength
	}
	if n, i = varintAt(data, i); i < 0 {
		return h, errVarintAt(i)
	}
	if n > int64(len(data)-i) {
		return h, errOverrun
	}
	if n < -1 {
		return h, errLength
	}
	i += int(max(n, 0))
	headers, i := varintAt(data, i)
	if i < 0 {
		return h, errVarintAt(i)
	}
	if headers < 0 || headers > math.MaxInt32 {
		return h, errLength
	}
	for ; headers > 0; headers-- {
		if i, err = skipHeader(data, i); err != nil {
			return h, err
		}
	}
	if i != len(data) {
		return h, errLeftover
	}
	return h, nil
}

func skipHeader(data []byte, i int) (int, error) {
	n, i := varintAt(data, i)
	if i < 0 {
		return i, errVarintAt(i)
	}
	if n < 0 {
		return i, errHeaderKey
	}
	if n > int64(len(data)-i) {
		return i, errOverrun
	}
	i += int(n)
	if n, i = varintAt(data, i); i < 0 {
		return i, errVarintAt(i)
	}
	if n > int64(len(data)-i) {
		return i, errOverrun
	}
	if n < -1 {
		return i, errLength
	}
	return i + int(max(n, 0)), nil
}

// varintAt reads a zigzag varint at i and returns the position after it, negative for none.
func varintAt(b []byte, i int) (int64, int) {
	if uint(i) < uint(len(b)) && b[i] < 0x80 { // most are one byte
		return int64(b[i]>>1) ^ -int64(b[i]&1), i + 1
	}
	return longVarintAt(b, i)
}

func longVarintAt(b []byte, i int) (int64, int) {
	if i > len(b) {
		return 0, -1
	}
	u, n := binary.Uvarint(b[i:])
	if n <= 0 {
		return 0, -1 + min(n, 0) // -1: cut off, less: too long
	}
	return int64(u>>1) ^ -int64(u&1), i + n
}

func errVarintAt(i int) error {
	if i == -1 {
		return errOverrun
	}
	return errVarint
}

// streamRecord passes over a record that is larger than the window and ends at end.
func (c *cursor) streamRecord(end int64) (h recordHead, err error) {
	if _, err = c.byte(); err != nil {
		return h, err
	}
	if h.timestampDelta, err = c.varint(); err != nil {
		return h, err
	}
	if h.offsetDelta, err = c.varint(); err != nil {
		return h, err
	}
	if h.hasKey, err = c.skipBytes(end); err != nil {
		return h, err
	}
	if _, err = c.skipBytes(end); err != nil {
		return h, err
	}
	headers, err := c.length(0)
	if err != nil {
		return h, err
	}
	for ; headers > 0; headers-- {
		if hasKey, err := c.skipBytes(end); err != nil {
			return h, err
		} else if !hasKey {
			return h, errHeaderKey
		}
		if _, err := c.skipBytes(end); err != nil {
			return h, err
		}
	}
	switch at := c.consumed(); {
	case at > end:
		return h, errOverrun
	case at < end:
		return h, errLeftover
	}
	return h, nil
}

var errHeaderKey = errors.New("a record header has no key")

// skipBytes passes over a nullable byte string that must lie before end.
func (c *cursor) skipBytes(end int64) (present bool, err error) {
	n, err := c.length(-1)
	if err != nil || n < 0 {
		return false, err
	}
	if c.consumed()+n > end {
		return false, errOverrun
	}
	return true, c.skip(n)
}

// expectEnd fails unless the stream ends here.
func (c *cursor) expectEnd() error {
	if c.pos < len(c.buf) {
		return errTrailing
	}
	if c.src == nil {
		return nil
	}
	switch err := c.fill(); {
	case err == nil:
		return errTrailing
	case errors.Is(err, errTruncated):
		return nil
	default:
		return err
	}
}

var errTrailing = errors.New("bytes follow the last record")
