package kafka

import (
	"encoding/base64"
	"fmt"
)

// UUID is a 16-byte identifier of a topic, directory, cluster or incarnation.
type UUID [16]byte

// Reserved UUIDs of Kafka: the absent one, the metadata topic's, and the directory ids that
// say "unassigned", "lost" and "migrating" (KIP-858).
var (
	ZeroUUID            = UUID{}
	MetadataTopicUUID   = UUID{15: 1}
	DirectoryMigrating  = UUID{}
	DirectoryUnassigned = UUID{15: 1}
	DirectoryLost       = UUID{15: 2}
)

// String returns Kafka's form: URL-safe base64 without padding, 22 characters.
func (u UUID) String() string { return base64.RawURLEncoding.EncodeToString(u[:]) }

// IsMisreadOf reports whether the texts of u and of a random id differ in exactly one character. Two
// random ids never do: u was damaged in a file that has no checksum.
func (u UUID) IsMisreadOf(other UUID) bool {
	if other[6]&0xf0 != 0x40 || other[8]&0xc0 != 0x80 {
		return false
	}
	a, b, different := u.String(), other.String(), 0
	for i := range a {
		if a[i] != b[i] {
			different++
		}
	}
	return different == 1
}

// IsZero reports whether u is the absent UUID.
func (u UUID) IsZero() bool { return u == ZeroUUID }

// ParseUUID parses the form that String returns.
func ParseUUID(s string) (UUID, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != 16 {
		return UUID{}, fmt.Errorf("%q is not a UUID: want 22 characters of URL-safe base64", s)
	}
	return UUID(b), nil
}

// NewUUID returns a random version-4 UUID drawn from random, never a reserved one nor one
// whose text begins with a dash, which command lines would take for a flag (as Kafka does).
func NewUUID(random interface{ Uint64() uint64 }) UUID {
	for {
		var u UUID
		hi, lo := random.Uint64(), random.Uint64()
		for i := range 8 {
			u[i] = byte(hi >> (56 - 8*i))
			u[8+i] = byte(lo >> (56 - 8*i))
		}
		u[6] = u[6]&0x0f | 0x40
		u[8] = u[8]&0x3f | 0x80
		if u.String()[0] != '-' {
			return u
		}
	}
}
