package storage

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/record"
)

func benchOptions(b *testing.B, dir string) Options {
	b.Helper()
	o := testOptions(vfs.OS{}, DefaultLogConfig())
	o.Dirs, o.OpenFilesPerDir = []string{dir}, 200
	return o
}

func benchLog(b *testing.B, config *LogConfig) *Log {
	b.Helper()
	m, err := OpenManager(benchOptions(b, b.TempDir()))
	if err != nil {
		b.Fatal(err)
	}
	if err := m.Load(LoadOptions{NowMs: startMs}); err != nil {
		b.Fatal(err)
	}
	l, err := m.GetOrCreate(testTP, config, startMs)
	if err != nil {
		b.Fatal(err)
	}
	return l
}

// BenchmarkAppend appends batches of 1 KB records as clients do, validation included.
func BenchmarkAppend(b *testing.B) {
	for _, records := range []int{1, 16} {
		b.Run(fmt.Sprintf("%dx1KB", records), func(b *testing.B) {
			config := DefaultLogConfig()
			config.SegmentBytes, config.RetentionBytes, config.FileDeleteDelayMs = 256<<20, 256<<20, 0
			l := benchLog(b, config)
			s := plain(records)
			s.valueBytes = 1024
			batch := s.build(b, 0)
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			for b.Loop() {
				batch.SetBaseOffset(0)
				if _, err := produce(l, batch, 0, startMs); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRead reads 1 MiB at a time into one buffer, CRCs checked.
func BenchmarkRead(b *testing.B) {
	l := benchLog(b, DefaultLogConfig())
	s := plain(16)
	s.valueBytes = 1024
	for l.SizeBytes() < 64<<20 {
		mustProduce(b, l, s, 0)
	}
	buffer := make([]byte, 1<<20)
	offset := int64(0)
	b.ReportAllocs()
	b.SetBytes(1 << 20)
	for b.Loop() {
		r, err := l.Read(ReadRequest{Offset: offset, MaxBytes: len(buffer), MinOneBatch: true, UpTo: l.HighWatermark(), Buffer: func(n int) []byte { return buffer }})
		if err != nil {
			b.Fatal(err)
		}
		last := record.Batch(r.Records)
		for rest := r.Records; len(rest) > 0; {
			last, rest, _ = record.Next(rest)
		}
		if offset = last.NextOffset(); offset >= l.LogEndOffset()-1000 {
			offset = 0
		}
	}
}

// BenchmarkOpenTenThousandLogs opens a log dir of 10,000 logs with one small batch each, after
// a clean shutdown and after a kill, and reports what an idle log costs.
func BenchmarkOpenTenThousandLogs(b *testing.B) {
	const count = 10_000
	dir := b.TempDir()
	config := DefaultLogConfig()
	fill := func() *Manager {
		m, err := OpenManager(benchOptions(b, dir))
		if err != nil {
			b.Fatal(err)
		}
		if err := m.Load(LoadOptions{NowMs: startMs, TopicConfig: func(string) *LogConfig { return config }}); err != nil {
			b.Fatal(err)
		}
		return m
	}
	m := fill()
	started := time.Now()
	for i := range count {
		l, err := m.GetOrCreate(tidp("many", int32(i), 1), config, startMs)
		if err != nil {
			b.Fatal(err)
		}
		mustProduce(b, l, plain(1), 0)
	}
	b.Logf("created %d logs in %v", count, time.Since(started))
	for _, clean := range []bool{false, true} {
		b.Run(fmt.Sprintf("clean=%v", clean), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				if clean {
					if err := m.Shutdown(1); err != nil {
						b.Fatal(err)
					}
				}
				m = nil
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				b.StartTimer()
				m = fill()
				b.StopTimer()
				runtime.GC()
				runtime.ReadMemStats(&after)
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/count, "heap-B/log")
				if len(m.Logs()) != count {
					b.Fatalf("%d logs", len(m.Logs()))
				}
				b.StartTimer()
			}
		})
	}
}
