package storage

import (
	"errors"
	"testing"

	"github.com/moldau/moldau/internal/kafka"
)

// A log that is deleted while its disk does not answer keeps its folder. The next one of its name must not find itself in it.
func TestDeletedWhileTheDiskDoesNotAnswer(t *testing.T) {
	t.Parallel()
	mem := newMem(t)
	config := testConfig()
	m, old := openLogOn(t, mem, config)
	for old.SegmentCount() < 4 {
		mustProduce(t, old, plain(5), 7)
	}
	m.SetStalled(testDir, true)
	wantCode(t, m.Delete(testTP.TopicPartition, startMs), kafka.ErrKafkaStorageError)
	m.SetStalled(testDir, false)
	again := kafka.TopicIDPartition{TopicID: kafka.UUID{4, 5, 6}, TopicPartition: testTP.TopicPartition}
	l, err := m.GetOrCreate(again, config, startMs)
	if err != nil {
		t.Fatal(err)
	}
	mustProduce(t, l, plain(3), 0)
	if err := m.Shutdown(1); err != nil {
		t.Fatal(err)
	}
	l = open(t, mem, config).Log(testTP.TopicPartition)
	if l.TopicID() != again.TopicID || l.LogStartOffset() != 0 || l.LogEndOffset() != 3 || l.SegmentCount() != 1 || l.LatestEpoch() != 0 {
		t.Errorf("the new log of topic id %s goes from offset %d to %d in %d segments, latest leader epoch %d", l.TopicID(), l.LogStartOffset(), l.LogEndOffset(), l.SegmentCount(), l.LatestEpoch())
	}
}

// A log dir that fails since its disk does not answer is offline, and is not counted as one that may come back.
func TestStalledUntilOffline(t *testing.T) {
	t.Parallel()
	m := open(t, newMem(t), testConfig())
	if !m.SetStalled(testDir, true) || len(m.StalledDirs()) != 1 {
		t.Fatal("not stalled")
	}
	m.FailDir(testDir, errors.New("it hangs"))
	if m.SetStalled(testDir, false) || len(m.StalledDirs()) != 0 || len(m.OfflineDirs()) != 1 {
		t.Errorf("stalled: %v, offline: %v", m.StalledDirs(), m.OfflineDirs())
	}
	if n := m.dirs[0].metrics.stalledDirs.Value(); n != 0 {
		t.Errorf("%d log dirs are counted as stalled", n)
	}
	if m.SetStalled(testDir, true) || len(m.StalledDirs()) != 0 {
		t.Error("an offline one stalls")
	}
}
