package env

import (
	cryptorand "crypto/rand"
	"encoding/binary"
	"math/rand/v2"
)

// Random is a source of randomness; cores take it as an argument.
type Random interface {
	Uint64() uint64
}

// SystemRandom draws from the operating system.
type SystemRandom struct{}

// Uint64 returns 64 unpredictable bits.
func (SystemRandom) Uint64() uint64 {
	var b [8]byte
	_, _ = cryptorand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return binary.BigEndian.Uint64(b[:])
}

// NewSeededRandom returns a source that repeats for the same seed.
func NewSeededRandom(seed uint64) Random { return rand.NewPCG(seed, seed^0x9e3779b97f4a7c15) }
