package producerstate

import (
	"fmt"
	"testing"
)

// BenchmarkEncodeSnapshot encodes full windows; it runs under the lock of appends.
func BenchmarkEncodeSnapshot(b *testing.B) {
	for _, producers := range []int{1, 1000, 100_000} {
		b.Run(fmt.Sprint(producers), func(b *testing.B) {
			var m Manager
			for i := range producers {
				for sequence := range int32(WindowSize) {
					m.Apply(Write{ProducerID: int64(i) * 7919 % 1_000_003, FirstSequence: sequence, LastSequence: sequence})
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				b.SetBytes(int64(len(m.EncodeSnapshot())))
			}
		})
	}
}
