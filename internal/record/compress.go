package record

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// xerialBlockBytes is how much Java's snappy stream puts in one chunk.
const xerialBlockBytes = 32 << 10

// Compressors take up to a megabyte of tables each, so they are kept for the next batch.
var gzipWriters, lz4Writers, zstdEncoders compressorPools

// compressorPools are pools of one kind of compressor by its level.
type compressorPools struct{ byLevel sync.Map }

// use calls work with a compressor of the level; one that has failed is not kept.
func (p *compressorPools) use(level int, create func() (any, error), work func(compressor any) error) error {
	pool, ok := p.byLevel.Load(level)
	if !ok {
		pool, _ = p.byLevel.LoadOrStore(level, new(sync.Pool))
	}
	compressor := pool.(*sync.Pool).Get()
	if compressor == nil {
		var err error
		if compressor, err = create(); err != nil {
			return err
		}
	}
	if err := work(compressor); err != nil {
		return err
	}
	pool.(*sync.Pool).Put(compressor)
	return nil
}

// compress appends src, compressed, to dst in the form that Java clients write.
func compress(dst []byte, codec Codec, level int, src []byte) ([]byte, error) {
	switch codec {
	case CodecGzip:
		if level == 0 {
			level = gzip.DefaultCompression
		}
		return compressStream(dst, src, &gzipWriters, level, func() (any, error) { return gzip.NewWriterLevel(nil, level) })
	case CodecSnappy:
		return compressXerial(dst, src), nil
	case CodecLZ4:
		own := lz4Level(level)
		return compressStream(dst, src, &lz4Writers, int(own), func() (any, error) {
			lz := lz4.NewWriter(nil)
			// Java reads only independent blocks and writes 64 KiB ones without checksums.
			return lz, lz.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false), lz4.CompressionLevelOption(own))
		})
	case CodecZstd:
		if level == 0 {
			level = 3
		}
		own := zstd.EncoderLevelFromZstd(level)
		err := zstdEncoders.use(int(own), func() (any, error) {
			return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(own), zstd.WithEncoderCRC(false))
		}, func(encoder any) error {
			dst = encoder.(*zstd.Encoder).EncodeAll(src, dst)
			return nil
		})
		return dst, err
	}
	return nil, fmt.Errorf("compression codec %d does not exist", int8(codec))
}

// streamCompressor is a compressor that can be used again and again.
type streamCompressor interface {
	io.WriteCloser
	Reset(w io.Writer)
}

func compressStream(dst, src []byte, pools *compressorPools, level int, create func() (any, error)) ([]byte, error) {
	out := &appendWriter{dst}
	err := pools.use(level, create, func(compressor any) error {
		c := compressor.(streamCompressor)
		c.Reset(out)
		if _, err := c.Write(src); err != nil {
			return err
		}
		if err := c.Close(); err != nil {
			return err
		}
		c.Reset(nil) // the batch is not referenced any longer
		return nil
	})
	return out.b, err
}

// appendWriter collects what is written.
type appendWriter struct{ b []byte }

func (w *appendWriter) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	return len(p), nil
}

func compressXerial(dst, src []byte) []byte {
	dst = append(dst, xerialMagic...)
	dst = binary.BigEndian.AppendUint32(dst, 1)
	dst = binary.BigEndian.AppendUint32(dst, 1)
	for len(src) > 0 {
		n := min(len(src), xerialBlockBytes)
		at := len(dst)
		dst = append(dst, make([]byte, 4+snappy.MaxEncodedLen(n))...)
		block := snappy.Encode(dst[at+4:], src[:n])
		binary.BigEndian.PutUint32(dst[at:], uint32(len(block)))
		dst, src = dst[:at+4+len(block)], src[n:]
	}
	return dst
}

// lz4Level maps Kafka's compression.lz4.level, 1 to 17 with 9 as default, to the library's:
// the fast compressor up to the default, then its high-compression levels.
func lz4Level(level int) lz4.CompressionLevel {
	levels := [...]lz4.CompressionLevel{lz4.Level1, lz4.Level2, lz4.Level3, lz4.Level4, lz4.Level5, lz4.Level6, lz4.Level7, lz4.Level8, lz4.Level9}
	if level <= 9 {
		return lz4.Fast
	}
	return levels[min(level-9, len(levels)-1)]
}
