package broker

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
)

// logDirsRetry is when the controller is told again what it could not be told.
const logDirsRetry = time.Second

// logDirFailed ends a node that can store nothing any more. With a log dir left it goes on, unless
// the metadata log is in the failed one. It may be called with any locks of the storage held.
func (b *broker) logDirFailed(dir string, err error) {
	switch {
	case dir == b.config.MetadataLogDir:
		b.fault(fmt.Errorf("log dir %s with the metadata log has failed, without which the node cannot go on: repair the disk and restart: %w", dir, err))
	case b.storage != nil && len(b.storage.OfflineDirs()) == len(b.config.LogDirs):
		b.fault(fmt.Errorf("log dir %s has failed and no other can take its place: repair the disk and restart: %w", dir, err))
	default:
		b.signalDirs()
	}
}

// signalDirs has followLogDirs look again. It never blocks.
func (b *broker) signalDirs() {
	select {
	case b.dirsChanged <- struct{}{}:
	default:
	}
}

// followLogDirs has the controller told which log dirs have failed or are cordoned and which replicas
// lie elsewhere than the metadata says (KIP-858), and lets those go who wait for what is offline. It notes in the log dirs under which
// registration they are used.
func (b *broker) followLogDirs(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.dirsChanged:
		}
		b.replicas.WakeOffline()
		b.noteRunning()
		if b.cluster != nil && (len(b.storage.OfflineDirs()) > 0 || b.faulted.Load()) {
			b.forgetRunning()
		}
		if b.answers.Swap(false) {
			b.replicas.Reapply()
		}
		b.life.Load().Wake()
		failure := b.reportMisplaced(ctx)
		if failure == nil || ctx.Err() != nil {
			continue
		}
		slog.Error("the controller does not know the state of the log dirs yet; it is told again", "error", failure)
		timer := time.NewTimer(logDirsRetry)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
			b.signalDirs()
		}
	}
}

// isCordoned reports whether a log dir gets no new replicas (KIP-1066).
func (b *broker) isCordoned(dir string) bool {
	return slices.Contains(b.current.Load().CordonedLogDirs, dir)
}

// cordonedDirectories are the ids of such log dirs, as far as they are known.
func (b *broker) cordonedDirectories() (ids []kafka.UUID) {
	for _, dir := range b.current.Load().CordonedLogDirs {
		if id := b.dirs.DirectoryIDs[dir]; !id.IsZero() {
			ids = append(ids, id)
		}
	}
	return ids
}

// reportMisplaced assigns replicas to the log dirs in which they are.
func (b *broker) reportMisplaced(ctx context.Context) error {
	misplaced := b.replicas.TakeMisplaced()
	if len(misplaced) == 0 {
		return nil
	}
	if !b.loader.Current().HasDirectories() {
		b.replicas.PutMisplaced(misplaced) // told when metadata.version says where replicas lie
		return nil
	}
	resp, err := b.channel.Send(ctx, self, assignment(b.config.NodeID, b.epoch(), misplaced))
	if err == nil {
		if code := kafka.ErrorCode(resp.(*kmsg.AssignReplicasToDirsResponse).ErrorCode); code != kafka.ErrNone {
			err = code
		}
	}
	if err != nil {
		b.replicas.PutMisplaced(misplaced)
		return fmt.Errorf("assign replicas to log dirs: %w", err)
	}
	return nil // a partition that was refused is gone by now
}

func assignment(nodeID int32, epoch int64, misplaced map[kafka.TopicIDPartition]kafka.UUID) *kmsg.AssignReplicasToDirsRequest {
	req := kmsg.NewPtrAssignReplicasToDirsRequest()
	req.BrokerID, req.BrokerEpoch = nodeID, epoch
	all := make([]kafka.TopicIDPartition, 0, len(misplaced))
	for tp := range misplaced {
		all = append(all, tp)
	}
	slices.SortFunc(all, func(a, b kafka.TopicIDPartition) int {
		inA, inB := misplaced[a], misplaced[b]
		return cmp.Or(slices.Compare(inA[:], inB[:]), slices.Compare(a.TopicID[:], b.TopicID[:]), cmp.Compare(a.Partition, b.Partition))
	})
	for _, tp := range all {
		if n := len(req.Directories); n == 0 || req.Directories[n-1].ID != misplaced[tp] {
			req.Directories = append(req.Directories, kmsg.AssignReplicasToDirsRequestDirectory{ID: misplaced[tp]})
		}
		dir := &req.Directories[len(req.Directories)-1]
		if n := len(dir.Topics); n == 0 || dir.Topics[n-1].TopicID != tp.TopicID {
			dir.Topics = append(dir.Topics, kmsg.AssignReplicasToDirsRequestDirectoryTopic{TopicID: tp.TopicID})
		}
		topic := &dir.Topics[len(dir.Topics)-1]
		topic.Partitions = append(topic.Partitions, kmsg.AssignReplicasToDirsRequestDirectoryTopicPartition{Partition: tp.Partition})
	}
	return req
}
