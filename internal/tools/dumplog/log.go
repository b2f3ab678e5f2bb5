package dumplog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/record"
)

const (
	logOverhead       = 12 // base offset and length of a batch
	headerUpToMagic   = 17
	leastRecordBytes  = 14 // of the oldest format; less is no batch of any
	maxBatchBytes     = 512 << 20
	bootstrapSnapshot = "bootstrap.checkpoint"
)

// logFile reads the batches of a log one after the other.
type logFile struct {
	file  *os.File
	path  string
	end   int64
	batch []byte // read last, and used again
}

// openLog opens a log of which limit bytes count.
func openLog(path string, limit int64) (*logFile, error) {
	if limit < 0 {
		return nil, fmt.Errorf("Invalid size: %d in read from %s", limit, path) //nolint:staticcheck // the words of Kafka's tools
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &logFile{file: f, path: path, end: min(info.Size(), limit)}, nil
}

func (l *logFile) close() { l.file.Close() }

// next reads the batch at position. It returns io.EOF where no whole batch follows, which is what the
// end of a log and a torn batch look like. The batch is valid until the next call.
func (l *logFile) next(position int64) (record.Batch, error) {
	var header [headerUpToMagic]byte
	if position >= l.end-headerUpToMagic {
		return nil, io.EOF
	}
	if _, err := l.file.ReadAt(header[:], position); err != nil {
		return nil, fmt.Errorf("%s at position %d: %w", l.path, position, err)
	}
	length := int64(int32(binary.BigEndian.Uint32(header[8:])))
	switch size := length + logOverhead; {
	case length < leastRecordBytes:
		return nil, fmt.Errorf("%s at position %d: Found record size %d smaller than minimum record overhead (%d) in file %s.", //nolint:staticcheck // the words of Kafka's tools
			l.path, position, length, leastRecordBytes, l.path)
	case position > l.end-size:
		return nil, io.EOF
	case header[headerUpToMagic-1] < record.Magic:
		return nil, fmt.Errorf("%s at position %d: the record format %d of releases before 0.11 is not supported", l.path, position, header[headerUpToMagic-1])
	case size > maxBatchBytes:
		return nil, fmt.Errorf("%s at position %d: a batch of %d bytes is announced; at most %d are read", l.path, position, size, maxBatchBytes)
	case int64(cap(l.batch)) < size:
		l.batch = make([]byte, size)
	}
	l.batch = l.batch[:length+logOverhead]
	if _, err := l.file.ReadAt(l.batch, position); err != nil {
		return nil, fmt.Errorf("%s at position %d: %w", l.path, position, err)
	}
	b, err := record.Single(l.batch)
	if err != nil {
		return nil, fmt.Errorf("%s at position %d: %w", l.path, position, err)
	}
	return b, nil
}

// snapshotName is the name of a snapshot of the metadata log: end offset and epoch.
var snapshotName = regexp.MustCompile(`^(\d{20})-(\d{10})\.checkpoint$`)

// title says what the name of a log or snapshot says.
func title(path string) (string, error) {
	name := filepath.Base(path)
	if !strings.HasSuffix(name, checkpointSuffix) {
		base, err := baseOffsetOf(path)
		return fmt.Sprintf("Log starting offset: %d", base), err
	}
	if name == bootstrapSnapshot {
		return "KRaft bootstrap snapshot", nil
	}
	parts := snapshotName.FindStringSubmatch(name)
	if parts == nil {
		return "", fmt.Errorf("%s: the name is not that of a metadata snapshot: 20 digits, a dash, 10 digits", path)
	}
	offset, offsetErr := strconv.ParseInt(parts[1], 10, 64)
	epoch, epochErr := strconv.ParseInt(parts[2], 10, 32)
	if err := errors.Join(offsetErr, epochErr); err != nil {
		return "", fmt.Errorf("%s: the name is not that of a metadata snapshot: %w", path, err)
	}
	return fmt.Sprintf("Snapshot end offset: %d, epoch: %d", offset, epoch), nil
}

func (d *dumper) dumpLog(ctx context.Context, path string) error {
	about, err := title(path)
	if err != nil {
		return err
	}
	d.printf("%s\n", about)
	log, err := openLog(path, int64(d.maxBytes))
	if err != nil {
		return err
	}
	defer log.close()
	position, lastOffset := int64(0), int64(-1)
	progress := d.streams.Progress("Reading "+filepath.Base(path), log.end)
	defer progress.Clear()
	for ctx.Err() == nil {
		b, err := log.next(position)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		d.printBatch(b, position)
		if d.deep {
			if lastOffset, err = d.printRecords(b, path, lastOffset); err != nil {
				return fmt.Errorf("%s at position %d: %w", path, position, err)
			}
		}
		position += int64(len(b))
		progress.Add(int64(len(b)))
	}
	if trailing := log.end - position; trailing > 0 && d.maxBytes == math.MaxInt32 && ctx.Err() == nil {
		d.printf("Found %d invalid bytes at the end of %s\n", trailing, filepath.Base(path))
	}
	return ctx.Err()
}

func (d *dumper) printBatch(b record.Batch, position int64) {
	horizon := "OptionalLong.empty"
	if b.HasDeleteHorizon() {
		horizon = fmt.Sprintf("OptionalLong[%d]", b.BaseTimestamp())
	}
	d.printf("baseOffset: %d lastOffset: %d count: %d baseSequence: %d lastSequence: %d producerId: %d producerEpoch: %d "+
		"partitionLeaderEpoch: %d isTransactional: %t isControl: %t deleteHorizonMs: %s position: %d %s: %d size: %d magic: %d "+
		"compresscodec: %s crc: %d isvalid: %t\n",
		b.BaseOffset(), b.LastOffset(), b.Count(), b.BaseSequence(), b.LastSequence(), b.ProducerID(), b.ProducerEpoch(),
		b.PartitionLeaderEpoch(), b.IsTransactional(), b.IsControl(), horizon, position, timestampType(b), b.MaxTimestamp(), len(b), b.Magic(),
		b.Codec(), b.CRC(), b.CheckCRC() == nil)
}

func timestampType(b record.Batch) string {
	if b.IsLogAppendTime() {
		return "LogAppendTime"
	}
	return "CreateTime"
}

// printRecords prints the records of a batch, and returns the offset of the last one.
func (d *dumper) printRecords(b record.Batch, path string, lastOffset int64) (int64, error) {
	for r, err := range b.Records(record.UncompressedLimit(len(b))) {
		if err != nil {
			return lastOffset, err
		}
		offset := b.BaseOffset() + int64(r.OffsetDelta)
		if offset != lastOffset+1 {
			d.complaints.nonConsecutive.add(path, lastOffset, offset)
		}
		lastOffset = offset
		if err := d.printRecord(b, r, offset); err != nil {
			return lastOffset, err
		}
	}
	return lastOffset, nil
}

func (d *dumper) printRecord(b record.Batch, r record.Record, offset int64) (err error) {
	line := d.line[:0]
	if !d.skipMetadata {
		if line, err = appendMetadata(line, b, r, offset); err != nil {
			return err
		}
	}
	if d.print && !b.IsControl() {
		decoded, err := d.decode(r, offset)
		if err != nil {
			_, _ = d.out.Write(line) // what is known of the record; Kafka has printed it, too
			return err
		}
		prefix := " "
		if d.skipMetadata {
			prefix = "| "
		}
		if decoded.hasKey {
			line = append(append(append(line, prefix...), "key: "...), decoded.key...)
			prefix = " "
		}
		if decoded.hasValue {
			line = append(append(append(line, prefix...), "payload: "...), decoded.value...)
		}
	}
	d.line = append(line, '\n')
	_, err = d.out.Write(d.line)
	return err
}

func appendMetadata(line []byte, b record.Batch, r record.Record, offset int64) ([]byte, error) {
	sequence := int32(-1)
	if b.BaseSequence() >= 0 {
		sequence = record.AddSequence(b.BaseSequence(), r.OffsetDelta)
	}
	line = fmt.Appendf(line, "| offset: %d %s: %d keySize: %d valueSize: %d sequence: %d headerKeys: [",
		offset, timestampType(b), r.Timestamp, sizeOf(r.Key), sizeOf(r.Value), sequence)
	for i, h := range r.Headers {
		if i > 0 {
			line = append(line, ',')
		}
		line = appendText(line, h.Key)
	}
	line = append(line, ']')
	if !b.IsControl() {
		return line, nil
	}
	return appendControl(line, r)
}

// sizeOf is -1 of null.
func sizeOf(b []byte) int {
	if b == nil {
		return -1
	}
	return len(b)
}
