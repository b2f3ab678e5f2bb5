package storage

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
)

// TestMovedBatchBesideOtherDamageIsNotAHole turns a bit of a batch's base offset, which no checksum covers, and one of the batch behind it:
// a reader of the offsets that seem to be missing is told of damage, and is never given what comes later; with what another replica has, all is as before.
func TestMovedBatchBesideOtherDamageIsNotAHole(t *testing.T) {
	t.Parallel()
	const baseOffset, crc, recordCount, value = 7, 20, 60, 70
	disk, other := twoReplicas(t)
	want := map[int64][]byte{} // by offset, the batch that has it
	for _, b := range readAll(t, other) {
		for offset := b.BaseOffset(); offset <= b.LastOffset(); offset++ {
			want[offset] = b
		}
	}
	for path, data := range logFiles(t, disk) {
		positions := []int{}
		for at := 0; at < len(data); {
			b, _, err := record.Next(data[at:])
			if err != nil {
				t.Fatal(err)
			}
			positions, at = append(positions, at), at+len(b)
		}
		for i, first := range positions[:len(positions)-1] {
			for bit := range 4 {
				for _, in := range []int{baseOffset, crc, recordCount, value} {
					for second := range 4 {
						if in == baseOffset && (i+2 == len(positions) || moveAlike(data[first:], data[positions[i+1]:], 1<<bit, 1<<second)) {
							continue // nothing behind them says what is wrong
						}
						damaged := disk.KillClone()
						turned := []flipped{{path: path, position: int64(first + baseOffset), bit: 1 << bit}, {path: path, position: int64(positions[i+1] + in), bit: 1 << second}}
						for _, f := range turned {
							if err := f.flip(damaged); err != nil {
								t.Fatal(err)
							}
						}
						if err := checkMoved(t, damaged, other, want); err != nil {
							t.Fatalf("%s, %+v: %v", path, turned, err)
						}
						if !bytes.Equal(logFiles(t, damaged)[path], data) {
							t.Fatalf("%s, %+v: not as before", path, turned)
						}
					}
				}
			}
		}
	}
}

// moveAlike reports whether two batches still adjoin when bits of their base offsets are turned.
func moveAlike(a, b record.Batch, bitOfA, bitOfB byte) bool {
	return int64(byte(a.LastOffset()-a.BaseOffset()+1)+(a[7]^bitOfA)) == int64(b[7]^bitOfB)
}

func checkMoved(t *testing.T, damaged *vfs.Mem, other *Log, want map[int64][]byte) error {
	t.Helper()
	m, l := openLogOn(t, damaged, mendConfig())
	for _, maxBytes := range []int{1, 1 << 20} {
		for offset := l.LogStartOffset(); offset < l.LogEndOffset(); offset++ {
			r, err := l.Read(ReadRequest{Offset: offset, MaxBytes: maxBytes, MinOneBatch: true, UpTo: math.MaxInt64})
			if err != nil {
				if kafka.CodeOf(err) != kafka.ErrCorruptMessage {
					return err
				}
				continue
			}
			next := offset
			for rest := r.Records; len(rest) > 0; {
				b, behind, err := record.Next(rest)
				if err != nil {
					return err
				}
				if !bytes.Equal(b, want[next]) {
					return fmt.Errorf("a read of %d bytes from %d has at %d the batch from %d to %d", maxBytes, offset, next, b.BaseOffset(), b.LastOffset())
				}
				next, rest = b.NextOffset(), behind
			}
		}
	}
	_, err := mendFrom(l, other)
	return errors.Join(err, m.Shutdown(1))
}
