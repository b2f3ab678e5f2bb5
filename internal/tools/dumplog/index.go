package dumplog

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage/producerstate"
	"github.com/moldau/moldau/internal/storage/segment"
)

// errPadding ends the walk over an index at the zeros that a broker keeps after its entries.
var errPadding = errors.New("only zeros follow")

// indexFile is an .index or .timeindex file with the log beside it.
type indexFile struct {
	path       string
	file       *os.File
	log        *logFile
	baseOffset int64
	sizeBytes  int64
}

func openIndex(path string) (*indexFile, error) {
	base, err := baseOffsetOf(path)
	if err != nil {
		return nil, err
	}
	log, err := openLog(siblingOf(path, segment.LogSuffix), math.MaxInt64)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		log.close()
		return nil, err
	}
	index := &indexFile{path: path, file: f, log: log, baseOffset: base}
	info, err := f.Stat()
	if err != nil {
		index.close()
		return nil, err
	}
	index.sizeBytes = info.Size()
	return index, nil
}

func (i *indexFile) close() {
	i.file.Close()
	i.log.close()
}

// entries is a reader from the first entry on.
func (i *indexFile) entries() io.Reader {
	return bufio.NewReaderSize(io.NewSectionReader(i.file, 0, i.sizeBytes), 64<<10)
}

func (d *dumper) dumpIndex(ctx context.Context, path string) error {
	index, err := openIndex(path)
	if err != nil {
		return err
	}
	defer index.close()
	switch {
	case index.sizeBytes < segment.IndexEntryBytes:
		d.printf("%s is empty.\n", path)
		return nil
	case d.sanityOnly:
		return d.checkIndex(index)
	}
	first := true
	err = segment.ReadIndex(index.entries(), index.baseOffset, func(e segment.IndexEntry) error {
		if e.Offset == index.baseOffset && !first {
			return errPadding
		}
		first = false
		if err := d.checkEntry(index, e); err != nil {
			return err
		}
		if !d.verifyOnly {
			d.printf("offset: %d position: %d\n", e.Offset, e.Position)
		}
		return ctx.Err()
	})
	if errors.Is(err, errPadding) {
		return nil
	}
	return err
}

// checkEntry compares an entry of an .index file with the batch that it points to.
func (d *dumper) checkEntry(index *indexFile, e segment.IndexEntry) error {
	position := int64(e.Position)
	if position < 0 || position > index.log.end {
		return fmt.Errorf("%s: the entry of offset %d points to position %d of a log of %d bytes", index.path, e.Offset, position, index.log.end)
	}
	window := *index.log
	window.end = min(window.end, position+int64(d.maxMessageSize))
	b, err := window.next(position)
	index.log.batch = window.batch
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: the entry of offset %d points to position %d, where no whole batch of at most %d bytes is", index.path, e.Offset, position, d.maxMessageSize)
	}
	if err != nil {
		return err
	}
	if last := b.LastOffset(); last != e.Offset {
		d.complaints.indexMismatch.add(index.path, e.Offset, last)
	}
	return nil
}

// checkIndex is the check that Kafka makes of an .index file at its start.
func (d *dumper) checkIndex(index *indexFile) error {
	last := index.baseOffset
	if err := segment.ReadIndex(index.entries(), index.baseOffset, func(e segment.IndexEntry) error {
		last = e.Offset
		return nil
	}); err != nil {
		return err
	}
	switch {
	case last < index.baseOffset:
		return fmt.Errorf("Corrupt index found, index file %s has non-zero size but the last offset is %d which is less than the base offset %d", //nolint:staticcheck // the words of Kafka's tools
			absolute(index.path), last, index.baseOffset)
	case index.sizeBytes%segment.IndexEntryBytes != 0:
		return fmt.Errorf("Index file %s is corrupt, found %d bytes which is neither positive nor a multiple of %d", //nolint:staticcheck // the words of Kafka's tools
			absolute(index.path), index.sizeBytes, segment.IndexEntryBytes)
	}
	d.printf("%s passed sanity check.\n", index.path)
	return nil
}

func (d *dumper) dumpTimeIndex(ctx context.Context, path string) error {
	index, err := openIndex(path)
	if err != nil {
		return err
	}
	defer index.close()
	offsets, err := openOffsets(siblingOf(path, segment.IndexSuffix), index.baseOffset)
	if err != nil {
		return err
	}
	defer offsets.file.Close()
	if d.sanityOnly {
		return d.checkTimeIndex(index)
	}
	previous, first := int64(-1), true
	err = segment.ReadTimeIndex(index.entries(), index.baseOffset, func(e segment.TimestampOffset) error {
		if e.Offset == index.baseOffset && !first {
			return errPadding
		}
		first = false
		if err := d.checkTimeEntry(ctx, index, offsets, e, previous); err != nil {
			return err
		}
		if !d.verifyOnly {
			d.printf("timestamp: %d offset: %d\n", e.TimestampMs, e.Offset)
		}
		previous = e.TimestampMs
		return ctx.Err()
	})
	if errors.Is(err, errPadding) {
		return nil
	}
	return err
}

// offsetFile is an .index file in which is searched.
type offsetFile struct {
	file       *os.File
	baseOffset int64
	entries    int // without padding
}

func openOffsets(path string, baseOffset int64) (*offsetFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	o := &offsetFile{file: f, baseOffset: baseOffset}
	err = segment.ReadIndex(bufio.NewReaderSize(f, 64<<10), baseOffset, func(e segment.IndexEntry) error {
		if e.Offset == baseOffset && o.entries > 0 {
			return errPadding
		}
		o.entries++
		return nil
	})
	if err != nil && !errors.Is(err, errPadding) {
		f.Close()
		return nil, err
	}
	return o, nil
}

// checkTimeEntry compares an entry of a .timeindex file with the batch that ends at its offset.
func (d *dumper) checkTimeEntry(ctx context.Context, index *indexFile, offsets *offsetFile, e segment.TimestampOffset, previousMs int64) error {
	at, found, err := segment.SearchIndex(offsets.file, offsets.entries, offsets.baseOffset, e.Offset)
	if err != nil {
		return fmt.Errorf("%s: %w", offsets.file.Name(), err)
	}
	position := int64(0)
	if found {
		position = int64(at.Position)
	}
	if position < 0 || position > index.log.end {
		return fmt.Errorf("%s: the entry of offset %d points to position %d of a log of %d bytes", offsets.file.Name(), at.Offset, position, index.log.end)
	}
	for {
		b, err := index.log.next(position)
		switch {
		case errors.Is(err, io.EOF):
			d.complaints.notFound.add(index.path, e.Offset, -1)
			return nil
		case err != nil:
			return err
		case b.LastOffset() > e.Offset:
			d.complaints.notFound.add(index.path, e.Offset, b.LastOffset())
			return nil
		case b.LastOffset() == e.Offset:
			return d.checkTimestamp(index.path, b, e.TimestampMs, previousMs)
		}
		if position += int64(len(b)); ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

func (d *dumper) checkTimestamp(path string, b record.Batch, timestampMs, previousMs int64) error {
	largest := int64(-1)
	for r, err := range b.Records(record.UncompressedLimit(len(b))) {
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		largest = max(largest, r.Timestamp)
	}
	if largest != timestampMs {
		d.complaints.timeMismatch.add(path, timestampMs, largest)
	}
	if previousMs >= timestampMs {
		d.complaints.timeOrder.add(path, timestampMs, previousMs)
	}
	return nil
}

// checkTimeIndex is the check that Kafka makes of a .timeindex file at its start.
func (d *dumper) checkTimeIndex(index *indexFile) error {
	var first, last segment.TimestampOffset
	entries := 0
	if err := segment.ReadTimeIndex(index.entries(), index.baseOffset, func(e segment.TimestampOffset) error {
		if last = e; entries == 0 {
			first = e
		}
		entries++
		return nil
	}); err != nil {
		return err
	}
	switch {
	case entries > 0 && last.TimestampMs < first.TimestampMs:
		return fmt.Errorf("Corrupt time index found, time index file (%s) has non-zero size but the last timestamp is %d which is less than the first timestamp %d", //nolint:staticcheck // the words of Kafka's tools
			absolute(index.path), last.TimestampMs, first.TimestampMs)
	case entries > 0 && last.Offset < index.baseOffset:
		return fmt.Errorf("Corrupt time index found, time index file (%s) has non-zero size but the last offset is %d which is less than the first offset %d", //nolint:staticcheck // the words of Kafka's tools
			absolute(index.path), last.Offset, index.baseOffset)
	case index.sizeBytes%segment.TimeIndexEntryBytes != 0:
		return fmt.Errorf("Time index file %s is corrupt, found %d bytes which is neither positive nor a multiple of %d", //nolint:staticcheck // the words of Kafka's tools
			absolute(index.path), index.sizeBytes, segment.TimeIndexEntryBytes)
	}
	d.printf("%s passed sanity check.\n", index.path)
	return nil
}

func (d *dumper) dumpTxnIndex(path string) error {
	if _, err := baseOffsetOf(path); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	err = segment.ReadTxnIndex(bufio.NewReader(f), func(version int16, e segment.AbortedTransaction) error {
		d.printf("version: %d producerId: %d firstOffset: %d lastOffset: %d lastStableOffset: %d\n",
			version, e.ProducerID, e.FirstOffset, e.LastOffset, e.LastStableOffset)
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func (d *dumper) dumpSnapshot(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSnapshotBytes+1))
	if err != nil {
		return err
	}
	if len(data) > maxSnapshotBytes {
		return fmt.Errorf("%s: the file has more than %d bytes", path, maxSnapshotBytes)
	}
	entries, err := producerstate.SnapshotEntries(data)
	if err != nil {
		d.streams.Errorln(path + ": " + err.Error()) // as Kafka, which goes on with the next file
		return nil
	}
	for e := range entries {
		txn := "OptionalLong.empty"
		if e.TxnFirstOffset >= 0 {
			txn = fmt.Sprintf("OptionalLong[%d]", e.TxnFirstOffset)
		}
		d.printf("producerId: %d producerEpoch: %d coordinatorEpoch: %d currentTxnFirstOffset: %s lastTimestamp: %d",
			e.ProducerID, e.Epoch, e.CoordinatorEpoch, txn, e.LastTimestampMs)
		for _, b := range e.Batches() {
			d.printf(" firstSequence: %d lastSequence: %d lastOffset: %d offsetDelta: %d timestamp: %d",
				b.FirstSequence(), b.LastSequence, b.LastOffset, b.OffsetDelta, b.TimestampMs)
		}
		d.printf("\n")
	}
	return nil
}
