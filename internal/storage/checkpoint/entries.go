package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
)

// Offset and leader epoch checkpoints share one layout: a line with the format version, a
// line with the number of entries, then one entry a line, its fields split by white space.
const entriesVersion = 0

// parseEntries calls entry with the fields of every entry. An empty file has none, as Kafka
// creates it before the first checkpoint.
func parseEntries(path string, data []byte, entry func(fields []string) error) error {
	if len(data) == 0 {
		return nil
	}
	data, err := unseal(path, data)
	if err != nil {
		return err
	}
	if bytes.ContainsAny(data, "\v\f") { // white space, but nothing that anybody writes
		return &ParseError{Path: path, Expected: "lines of words and numbers", Got: "control characters"}
	}
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimSuffix(lines[i], "\r")
	}
	if lines[0] != strconv.Itoa(entriesVersion) {
		return &VersionError{Path: path, Found: lines[0], Want: entriesVersion}
	}
	if len(lines) < 2 {
		return nil
	}
	count, err := strconv.ParseInt(lines[1], 10, 32)
	if err != nil || count < 0 {
		return &ParseError{Path: path, Line: 2, Expected: "the number of entries", Got: lines[1]}
	}
	if int(count) != len(lines)-2 {
		return &ParseError{Path: path, Expected: fmt.Sprintf("%d entries", count), Got: fmt.Sprintf("%d", len(lines)-2)}
	}
	for i, line := range lines[2:] {
		if err := entry(strings.Fields(line)); err != nil {
			return &ParseError{Path: path, Line: i + 3, Expected: err.Error(), Got: line}
		}
	}
	return nil
}

func readEntries(fsys vfs.FS, path string, entry func(fields []string) error) error {
	data, err := vfs.ReadFile(fsys, path, maxFileBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return parseEntries(path, data, entry)
}

func formatEntries(count int, entry func(data []byte, i int) []byte) []byte {
	data := fmt.Appendf(nil, "%d\n%d\n", entriesVersion, count)
	for i := range count {
		data = append(entry(data, i), '\n')
	}
	if count == 0 {
		return data // nothing there that could be wrong and still be read
	}
	return seal(data)
}

// ReadOffsets reads one of the three offset checkpoints; a missing file is an empty map.
func ReadOffsets(fsys vfs.FS, path string) (map[kafka.TopicPartition]int64, error) {
	offsets := map[kafka.TopicPartition]int64{}
	err := readEntries(fsys, path, func(fields []string) error { return parseOffset(offsets, fields) })
	if err != nil {
		return nil, err
	}
	return offsets, nil
}

func parseOffset(offsets map[kafka.TopicPartition]int64, fields []string) error {
	if len(fields) != 3 {
		return errors.New("a topic, a partition and an offset")
	}
	partition, err := strconv.ParseInt(fields[1], 10, 32)
	if err != nil || partition < 0 {
		return errors.New("a partition number as second word")
	}
	offset, err := strconv.ParseInt(fields[2], 10, 64)
	if err != nil || offset < 0 {
		return errors.New("an offset as third word")
	}
	offsets[kafka.TopicPartition{Topic: fields[0], Partition: int32(partition)}] = offset
	return nil
}

// WriteOffsets replaces an offset checkpoint, sorted by topic and partition.
func WriteOffsets(fsys vfs.FS, path string, offsets map[kafka.TopicPartition]int64) error {
	sorted := make([]kafka.TopicPartition, 0, len(offsets))
	for tp := range offsets {
		sorted = append(sorted, tp)
	}
	slices.SortFunc(sorted, func(a, b kafka.TopicPartition) int {
		if c := strings.Compare(a.Topic, b.Topic); c != 0 {
			return c
		}
		return int(a.Partition) - int(b.Partition)
	})
	data := formatEntries(len(sorted), func(data []byte, i int) []byte {
		tp := sorted[i]
		data = append(append(data, tp.Topic...), ' ')
		data = append(strconv.AppendInt(data, int64(tp.Partition), 10), ' ')
		return strconv.AppendInt(data, offsets[tp], 10)
	})
	return vfs.WriteFileAtomic(fsys, path, data)
}

// LeaderEpoch is the first offset that was written in an epoch.
type LeaderEpoch struct {
	Epoch       int32
	StartOffset int64
}

// ReadLeaderEpochs reads a leader-epoch-checkpoint; a missing file is an empty list. Epochs
// ascend, offsets do not descend.
func ReadLeaderEpochs(fsys vfs.FS, path string) ([]LeaderEpoch, error) {
	var epochs []LeaderEpoch
	err := readEntries(fsys, path, func(fields []string) error {
		e, err := parseLeaderEpoch(epochs, fields)
		epochs = append(epochs, e)
		return err
	})
	if err != nil {
		return nil, err
	}
	return epochs, nil
}

func parseLeaderEpoch(before []LeaderEpoch, fields []string) (LeaderEpoch, error) {
	if len(fields) != 2 {
		return LeaderEpoch{}, errors.New("a leader epoch and its start offset")
	}
	epoch, err := strconv.ParseInt(fields[0], 10, 32)
	if err != nil || epoch < 0 {
		return LeaderEpoch{}, errors.New("a leader epoch as first word")
	}
	offset, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil || offset < 0 {
		return LeaderEpoch{}, errors.New("a start offset as second word")
	}
	e := LeaderEpoch{int32(epoch), offset}
	if n := len(before); n > 0 && (e.Epoch <= before[n-1].Epoch || e.StartOffset < before[n-1].StartOffset) {
		return LeaderEpoch{}, fmt.Errorf("an epoch after %d that starts at or after offset %d", before[n-1].Epoch, before[n-1].StartOffset)
	}
	return e, nil
}

// WriteLeaderEpochs replaces a leader-epoch-checkpoint.
func WriteLeaderEpochs(fsys vfs.FS, path string, epochs []LeaderEpoch) error {
	return vfs.WriteFileAtomic(fsys, path, formatEntries(len(epochs), func(data []byte, i int) []byte {
		data = append(strconv.AppendInt(data, int64(epochs[i].Epoch), 10), ' ')
		return strconv.AppendInt(data, epochs[i].StartOffset, 10)
	}))
}

// ReadPartitionMetadata reads the topic id from partition.metadata; fs.ErrNotExist if there
// is none.
func ReadPartitionMetadata(fsys vfs.FS, path string) (kafka.UUID, error) {
	data, err := vfs.ReadFile(fsys, path, maxSmallFileBytes)
	if err != nil {
		return kafka.UUID{}, err
	}
	return parsePartitionMetadata(path, data)
}

func parsePartitionMetadata(path string, data []byte) (kafka.UUID, error) {
	lines := bytes.Split(bytes.TrimRight(data, "\r\n"), []byte("\n"))
	value := func(i int, name string) (string, error) {
		if i >= len(lines) {
			return "", &ParseError{Path: path, Line: i + 1, Expected: name + ": …", Got: ""}
		}
		line := strings.TrimSuffix(string(lines[i]), "\r")
		v, ok := strings.CutPrefix(line, name+":")
		if !ok {
			return "", &ParseError{Path: path, Line: i + 1, Expected: name + ": …", Got: line}
		}
		return strings.TrimSpace(v), nil
	}
	version, err := value(0, "version")
	if err != nil {
		return kafka.UUID{}, err
	}
	if version != "0" {
		return kafka.UUID{}, &VersionError{Path: path, Found: version, Want: 0}
	}
	text, err := value(1, "topic_id")
	if err != nil {
		return kafka.UUID{}, err
	}
	id, err := kafka.ParseUUID(text)
	if err != nil || id.IsZero() {
		return kafka.UUID{}, &ParseError{Path: path, Line: 2, Expected: "a topic id", Got: text}
	}
	return id, nil
}

// WritePartitionMetadata replaces partition.metadata.
func WritePartitionMetadata(fsys vfs.FS, path string, topicID kafka.UUID) error {
	return vfs.WriteFileAtomic(fsys, path, []byte("version: 0\ntopic_id: "+topicID.String()))
}
