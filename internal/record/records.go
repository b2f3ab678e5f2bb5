package record

import (
	"fmt"
	"iter"
	"math"
)

// Header is one header of a record. A nil Value is null.
type Header struct {
	Key   []byte
	Value []byte
}

// Record is one record of a batch. Nil Key and Value are null.
type Record struct {
	OffsetDelta int32
	Timestamp   int64 // the batch's MaxTimestamp where the type is LogAppendTime
	Key         []byte
	Value       []byte
	Headers     []Header
}

// Records iterates over the records of the batch, decompressing at most limitBytes of them.
// It ends with the first error. Key, Value and Headers are valid until the next step only:
// they are slices of the batch or of a buffer that is used again. The CRC is not checked;
// any number of offsets may be missing, as compaction leaves them, but they must ascend.
func (b Batch) Records(limitBytes int64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		c := cursorPool.Get().(*cursor)
		defer c.release()
		if err := c.open(b, limitBytes); err != nil {
			yield(Record{}, fmt.Errorf("records of %s batch at offset %d: %w", b.Codec(), b.BaseOffset(), err))
			return
		}
		var headers []Header
		count, previous := b.Count(), int64(-1)
		for i := range count {
			r, err := c.record(b, headers, previous)
			if err != nil {
				yield(Record{}, fmt.Errorf("record %d of %d of %s batch at offset %d: %w", i, count, b.Codec(), b.BaseOffset(), err))
				return
			}
			if !yield(r, nil) {
				return
			}
			previous = int64(r.OffsetDelta)
			headers = r.Headers[:0]
		}
		if err := c.expectEnd(); err != nil {
			yield(Record{}, fmt.Errorf("records of %s batch at offset %d: %w", b.Codec(), b.BaseOffset(), err))
		}
	}
}

// record reads one whole record, whose bytes are put side by side in the cursor's window.
func (c *cursor) record(b Batch, headers []Header, previousDelta int64) (Record, error) {
	var r Record
	size, err := c.length(1)
	if err != nil {
		return r, err
	}
	if c.src != nil && c.consumed()+size > c.limit {
		return r, fmt.Errorf("%w of %d bytes", ErrTooLarge, c.limit)
	}
	data, err := c.take(int(size))
	if err != nil {
		return r, err
	}
	f := cursor{buf: data}
	if _, err = f.byte(); err != nil {
		return r, err
	}
	timestampDelta, err := f.varint()
	if err != nil {
		return r, err
	}
	offsetDelta, err := f.varint()
	if err != nil {
		return r, err
	}
	if offsetDelta <= previousDelta || offsetDelta > int64(b.LastOffsetDelta()) || offsetDelta > math.MaxInt32 {
		return r, fmt.Errorf("offset delta %d after %d, last of the batch %d", offsetDelta, previousDelta, b.LastOffsetDelta())
	}
	r.OffsetDelta, r.Timestamp = int32(offsetDelta), b.BaseTimestamp()+timestampDelta
	if b.IsLogAppendTime() {
		r.Timestamp = b.MaxTimestamp()
	}
	if r.Key, err = f.takeBytes(); err != nil {
		return r, err
	}
	if r.Value, err = f.takeBytes(); err != nil {
		return r, err
	}
	if r.Headers, err = f.takeHeaders(headers); err != nil {
		return r, err
	}
	if f.pos != len(f.buf) {
		return r, errLeftover
	}
	return r, nil
}

func (c *cursor) takeHeaders(headers []Header) ([]Header, error) {
	n, err := c.length(0)
	if err != nil {
		return nil, err
	}
	for ; n > 0; n-- { // appended one by one: the count is only a claim
		var h Header
		if h.Key, err = c.takeBytes(); err != nil {
			return nil, err
		}
		if h.Key == nil {
			return nil, errHeaderKey
		}
		if h.Value, err = c.takeBytes(); err != nil {
			return nil, err
		}
		headers = append(headers, h)
	}
	return headers, nil
}

// takeBytes reads a nullable byte string; an empty one is not nil.
func (c *cursor) takeBytes() ([]byte, error) {
	n, err := c.length(-1)
	if err != nil || n < 0 {
		return nil, err
	}
	return c.take(int(n))
}
