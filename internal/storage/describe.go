package storage

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/moldau/moldau/internal/kafka"
)

// DirDescription is what DescribeLogDirs tells of a log dir.
type DirDescription struct {
	Path                    string           // absolute
	TotalBytes, UsableBytes int64            // of the volume
	DeletedBytes            int64            // of what has been deleted and takes room until file.delete.delay.ms is over
	Logs                    []LogDescription // those asked for
	Err                     error            // the dir is offline or cannot be looked at
	Cordoned                bool             // it gets no new replicas
}

// LogDescription is what DescribeLogDirs tells of a log.
type LogDescription struct {
	TopicPartition kafka.TopicPartition
	SizeBytes      int64
	OffsetLag      int64
	IsFuture       bool // it is on its way here from another log dir
}

// DescribeDirs describes every log dir, with the logs for which wanted is true, in the order of topic and partition.
func (m *Manager) DescribeDirs(wanted func(kafka.TopicPartition) bool) []DirDescription {
	all := make([]DirDescription, len(m.dirs))
	index := map[*logDir]int{}
	for i, d := range m.dirs {
		index[d] = i
		all[i] = d.describe()
	}
	for _, l := range m.Logs() {
		if at := &all[index[l.dir]]; at.Err == nil && wanted(l.tp) {
			at.Logs = append(at.Logs, LogDescription{l.tp, l.SizeBytes(), max(l.HighWatermark()-l.LogEndOffset(), 0), false})
		}
	}
	for i, d := range m.dirs {
		d.mu.Lock()
		all[i].DeletedBytes = d.deletedBytes
		d.mu.Unlock()
	}
	m.moves.mu.Lock()
	moving := slices.SortedFunc(maps.Values(m.moves.all), func(a, b *Move) int { return compareLogs(a.log, b.log) })
	m.moves.mu.Unlock()
	for _, v := range moving {
		at := &all[index[v.target]]
		if at.Err != nil || !wanted(v.log.tp) {
			continue
		}
		future, lag := v.futureOf()
		d := LogDescription{TopicPartition: v.log.tp, OffsetLag: lag, IsFuture: true}
		if future != nil {
			d.SizeBytes = future.SizeBytes()
		}
		at.Logs = append(at.Logs, d)
		slices.SortStableFunc(at.Logs, func(a, b LogDescription) int {
			return cmp.Or(cmp.Compare(a.TopicPartition.Topic, b.TopicPartition.Topic), cmp.Compare(a.TopicPartition.Partition, b.TopicPartition.Partition))
		})
	}
	return all
}

func (d *logDir) describe() DirDescription {
	r := DirDescription{Path: d.path, TotalBytes: -1, UsableBytes: -1, Cordoned: d.cordoned.Load()}
	if abs, err := filepath.Abs(d.path); err == nil {
		r.Path = abs
	}
	if r.Err = d.offlineError(); r.Err != nil {
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
