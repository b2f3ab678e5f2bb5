package record

import (
	"encoding/binary"
	"fmt"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// xerialBlockBytes is how much Java's snappy stream puts in one chunk.
const xerialBlockBytes = 32 << 10

// compress appends src, compressed, to dst in the form that Java clients write.
func compress(dst []byte, codec Codec, level int, src []byte) ([]byte, error) {
	switch codec {
	case CodecGzip:
		w := &appendWriter{dst}
		if level == 0 {
			level = gzip.DefaultCompression
		}
		gz, err := gzip.NewWriterLevel(w, level)
		if err != nil {
			return nil, err
		}
		return finish(w, gz, src)
	case CodecSnappy:
		return compressXerial(dst, src), nil
	case CodecLZ4:
		w := &appendWriter{dst}
		lz := lz4.NewWriter(w)
		// Java reads only independent blocks and writes 64 KiB ones without checksums.
		if err := lz.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false), lz4.CompressionLevelOption(lz4Level(level))); err != nil {
			return nil, err
		}
		return finish(w, lz, src)
	case CodecZstd:
		if level == 0 {
			level = 3
		}
		zs, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)), zstd.WithEncoderCRC(false))
		if err != nil {
			return nil, err
		}
		defer zs.Close()
		return zs.EncodeAll(src, dst), nil
	}
	return nil, fmt.Errorf("compression codec %d does not exist", int8(codec))
}

type writeCloser interface {
	Write([]byte) (int, error)
	Close() error
}

func finish(w *appendWriter, c writeCloser, src []byte) ([]byte, error) {
	if _, err := c.Write(src); err != nil {
		return nil, err
	}
	if err := c.Close(); err != nil {
		return nil, err
	}
	return w.b, nil
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
