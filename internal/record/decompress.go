package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// decoder is a pooled decompressor, opened on one batch.
type decoder interface {
	io.Reader
	// release returns it to its pool; the batch is no longer referenced.
	release()
}

func openDecoder(codec Codec, body []byte, limitBytes int64) (decoder, error) {
	switch codec {
	case CodecGzip:
		return openGzip(body)
	case CodecSnappy:
		return openSnappy(body, limitBytes)
	case CodecLZ4:
		return openLZ4(body)
	case CodecZstd:
		return openZstd(body)
	}
	return nil, fmt.Errorf("compression codec %d does not exist", int8(codec))
}

// Decompress returns what body holds, compressed with codec; it is an error if that is more than
// limitBytes. Without compression the result is body itself.
func Decompress(codec Codec, body []byte, limitBytes int64) ([]byte, error) {
	if codec == CodecNone {
		if int64(len(body)) > limitBytes {
			return nil, fmt.Errorf("%w of %d bytes", ErrTooLarge, limitBytes)
		}
		return body, nil
	}
	d, err := openDecoder(codec, body, limitBytes)
	if err != nil {
		return nil, err
	}
	defer d.release()
	data, err := io.ReadAll(io.LimitReader(d, limitBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("decompress: %w", err)
	case int64(len(data)) > limitBytes:
		return nil, fmt.Errorf("%w of %d bytes", ErrTooLarge, limitBytes)
	}
	return data, nil
}

type gzipDecoder struct {
	in bytes.Reader
	gz gzip.Reader
}

var gzipPool = sync.Pool{New: func() any { return new(gzipDecoder) }}

func openGzip(body []byte) (decoder, error) {
	d := gzipPool.Get().(*gzipDecoder)
	d.in.Reset(body)
	if err := d.gz.Reset(&d.in); err != nil {
		d.release()
		return nil, fmt.Errorf("decompress: %w", err)
	}
	return d, nil
}

func (d *gzipDecoder) Read(p []byte) (int, error) { return d.gz.Read(p) }

func (d *gzipDecoder) release() {
	d.in.Reset(nil)
	gzipPool.Put(d)
}

// lz4FrameMagic begins a frame. The library would also read the legacy format, which takes
// blocks of 8 MiB and which Kafka does not know.
const lz4FrameMagic = 0x184D2204

type lz4Decoder struct {
	in bytes.Reader
	lz *lz4.Reader
}

var lz4Pool = sync.Pool{New: func() any { return &lz4Decoder{lz: lz4.NewReader(nil)} }}

func openLZ4(body []byte) (decoder, error) {
	if len(body) < 4 || binary.LittleEndian.Uint32(body) != lz4FrameMagic {
		return nil, errors.New("decompress: not an lz4 frame")
	}
	d := lz4Pool.Get().(*lz4Decoder)
	d.in.Reset(body)
	d.lz.Reset(&d.in)
	return d, nil
}

func (d *lz4Decoder) Read(p []byte) (int, error) { return d.lz.Read(p) }

func (d *lz4Decoder) release() {
	d.in.Reset(nil)
	d.lz.Reset(&d.in)
	lz4Pool.Put(d)
}

// Zstd frames announce the window that a decoder must keep. Encoders at common levels use
// up to 8 MiB; the highest levels go to 128 MiB, which is allowed to one batch at a time so
// that tiny hostile batches cannot take that memory many times over.
const (
	zstdCommonWindowBytes = 8 << 20
	zstdLargeWindowBytes  = 128 << 20
)

type zstdDecoder struct {
	in    bytes.Reader
	zs    *zstd.Decoder
	large bool
}

var (
	zstdPool  sync.Pool
	zstdLarge sync.Mutex // held while a decoder for large windows exists
)

func newZstd(maxWindowBytes uint64) (*zstdDecoder, error) {
	zs, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxWindowBytes), zstd.WithDecodeBuffersBelow(0))
	if err != nil {
		return nil, err
	}
	return &zstdDecoder{zs: zs}, nil
}

func openZstd(body []byte) (decoder, error) {
	var head zstd.Header
	if err := head.Decode(body); err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	var d *zstdDecoder
	var err error
	window := head.WindowSize
	if head.SingleSegment {
		window = head.FrameContentSize
	}
	if window > zstdCommonWindowBytes {
		zstdLarge.Lock()
		if d, err = newZstd(zstdLargeWindowBytes); err != nil {
			zstdLarge.Unlock()
			return nil, err
		}
		d.large = true
	} else if d, _ = zstdPool.Get().(*zstdDecoder); d == nil {
		if d, err = newZstd(zstdCommonWindowBytes); err != nil {
			return nil, err
		}
	}
	d.in.Reset(body)
	if err := d.zs.Reset(&d.in); err != nil {
		d.release()
		return nil, fmt.Errorf("decompress: %w", err)
	}
	return d, nil
}

func (d *zstdDecoder) Read(p []byte) (int, error) { return d.zs.Read(p) }

func (d *zstdDecoder) release() {
	d.in.Reset(nil)
	if d.large {
		d.zs.Close()
		zstdLarge.Unlock()
		return
	}
	if err := d.zs.Reset(nil); err == nil {
		zstdPool.Put(d)
	}
}

// xerialMagic begins the framing in which Java's snappy library, and after it most Kafka
// clients, write: magic, version and compatible version (int32 each), then chunks, each an
// int32 length and a raw snappy block.
var xerialMagic = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

const xerialHeaderBytes = 16

// snappyMaxRatio is above what the format can reach: an element of three bytes copies at
// most 64. A block that claims more is refused before anything is allocated for it.
const snappyMaxRatio = 22

type snappyDecoder struct {
	chunks []byte // what is left of the framed chunks
	raw    []byte // a body without framing
	block  []byte // own memory, holds the current block
	out    []byte // unread part of block
	limit  int64
}

var snappyPool = sync.Pool{New: func() any { return new(snappyDecoder) }}

func openSnappy(body []byte, limitBytes int64) (decoder, error) {
	d := snappyPool.Get().(*snappyDecoder)
	d.limit = limitBytes
	if bytes.HasPrefix(body, xerialMagic) {
		if len(body) < xerialHeaderBytes {
			d.release()
			return nil, errors.New("decompress: the snappy framing's header is cut off")
		}
		d.chunks = body[xerialHeaderBytes:]
	} else {
		d.raw = body
	}
	return d, nil
}

func (d *snappyDecoder) Read(p []byte) (int, error) {
	for len(d.out) == 0 {
		if err := d.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, d.out)
	d.out = d.out[n:]
	return n, nil
}

// next decompresses the next block into out.
func (d *snappyDecoder) next() error {
	block := d.raw
	d.raw = nil
	if len(block) == 0 {
		if len(d.chunks) == 0 {
			return io.EOF
		}
		if len(d.chunks) < 4 {
			return errors.New("a snappy chunk's length is cut off")
		}
		size := binary.BigEndian.Uint32(d.chunks)
		if uint64(size) > uint64(len(d.chunks)-4) {
			return fmt.Errorf("a snappy chunk of %d bytes exceeds the %d there are", size, len(d.chunks)-4)
		}
		block, d.chunks = d.chunks[4:4+size], d.chunks[4+size:]
	}
	size, err := snappy.DecodedLen(block)
	if err != nil {
		return err
	}
	if int64(size) > int64(len(block))*snappyMaxRatio {
		return fmt.Errorf("a snappy block of %d bytes claims to hold %d", len(block), size)
	}
	if int64(size) > d.limit {
		return fmt.Errorf("%w of %d bytes", ErrTooLarge, d.limit)
	}
	if size > cap(d.block) {
		d.block = make([]byte, size)
	}
	d.out, err = snappy.Decode(d.block[:cap(d.block)], block)
	return err
}

func (d *snappyDecoder) release() {
	block := d.block
	if cap(block) > maxPooledWindow {
		block = nil
	}
	*d = snappyDecoder{block: block}
	snappyPool.Put(d)
}
