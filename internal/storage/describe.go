package storage

import (
	"fmt"
	"path/filepath"

	"github.com/moldau/moldau/internal/kafka"
)

// DirDescription is what DescribeLogDirs tells of a log dir.
type DirDescription struct {
	Path        string // absolute
	TotalBytes  int64  // of the volume
	UsableBytes int64
	Logs        []LogDescription // those asked for
	Err         error            // the dir is offline or cannot be looked at
}

// LogDescription is what DescribeLogDirs tells of a log.
type LogDescription struct {
	TopicPartition kafka.TopicPartition
	SizeBytes      int64
	OffsetLag      int64
}

// DescribeDirs describes every log dir, with the logs for which wanted is true, in the order of
// topic and partition.
func (m *Manager) DescribeDirs(wanted func(kafka.TopicPartition) bool) []DirDescription {
	all := make([]DirDescription, len(m.dirs))
	index := map[*logDir]int{}
	for i, d := range m.dirs {
		index[d] = i
		all[i] = d.describe()
	}
	for _, l := range m.Logs() {
		if at := &all[index[l.dir]]; at.Err == nil && wanted(l.tp) {
			at.Logs = append(at.Logs, LogDescription{l.tp, l.SizeBytes(), max(l.HighWatermark()-l.LogEndOffset(), 0)})
		}
	}
	return all
}

func (d *logDir) describe() DirDescription {
	r := DirDescription{Path: d.path, TotalBytes: -1, UsableBytes: -1}
	if abs, err := filepath.Abs(d.path); err == nil {
		r.Path = abs
	}
	if d.offline.Load() {
		r.Err = kafka.Errorf(kafka.ErrKafkaStorageError, "log dir %s is offline", r.Path)
		return r
	}
	total, usable, err := d.shared.fs.Usage(d.path)
	if err != nil {
		r.Err = &kafka.Error{Code: kafka.ErrKafkaStorageError, Message: fmt.Sprintf("the volume of log dir %s cannot be looked at", r.Path), Cause: err}
		return r
	}
	r.TotalBytes, r.UsableBytes = total, usable
	return r
}
