package record

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/moldau/moldau/internal/kafka"
)

// ControlKind says what a control record means.
type ControlKind int16

const (
	ControlAbort          ControlKind = 0
	ControlCommit         ControlKind = 1
	ControlLeaderChange   ControlKind = 2
	ControlSnapshotHeader ControlKind = 3
	ControlSnapshotFooter ControlKind = 4
	ControlKRaftVersion   ControlKind = 5
	ControlKRaftVoters    ControlKind = 6
)

// ErrControl says that a control record's key or value is malformed.
var ErrControl = errors.New("malformed control record")

// ParseControlKey reads the kind out of a control record's key: version and type, int16 each.
// A newer version is read as far as it is known, an unknown kind is returned as it is.
func ParseControlKey(key []byte) (ControlKind, error) {
	if len(key) < 4 {
		return 0, fmt.Errorf("%w: the key has %d bytes, at least 4 are needed", ErrControl, len(key))
	}
	if version := int16(binary.BigEndian.Uint16(key)); version < 0 {
		return 0, fmt.Errorf("%w: key version %d", ErrControl, version)
	}
	return ControlKind(binary.BigEndian.Uint16(key[2:])), nil
}

// ControlKey returns the key of a control record.
func ControlKey(kind ControlKind) []byte {
	return binary.BigEndian.AppendUint16([]byte{0, 0}, uint16(kind))
}

// BuildControl makes a control batch of one record.
func BuildControl(o BuilderOptions, timestampMs int64, kind ControlKind, value []byte) (Batch, error) {
	o.Control, o.Codec = true, CodecNone
	b := NewBuilder(o)
	b.Append(timestampMs, ControlKey(kind), value, nil)
	return b.Build()
}

// EndTxnMarker is the value of an abort or commit marker.
type EndTxnMarker struct{ CoordinatorEpoch int32 }

// Encode returns the value's bytes.
func (m EndTxnMarker) Encode() []byte {
	return binary.BigEndian.AppendUint32([]byte{0, 0}, uint32(m.CoordinatorEpoch))
}

// ParseEndTxnMarker reads the value of an abort or commit marker.
func ParseEndTxnMarker(value []byte) (EndTxnMarker, error) {
	r := controlReader{b: value}
	r.version()
	return EndTxnMarker{CoordinatorEpoch: r.int32()}, r.done("transaction marker")
}

// LeaderChange is written by a new leader of the metadata quorum at the start of its epoch.
// Version 1 carries the voters' directory ids.
type LeaderChange struct {
	Version        int16
	LeaderID       int32
	Voters         []LeaderChangeVoter
	GrantingVoters []LeaderChangeVoter
}

// LeaderChangeVoter names a voter.
type LeaderChangeVoter struct {
	ID          int32
	DirectoryID kafka.UUID // from version 1
}

// Encode returns the value's bytes.
func (m LeaderChange) Encode() []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(m.Version))
	b = binary.BigEndian.AppendUint32(b, uint32(m.LeaderID))
	for _, voters := range [][]LeaderChangeVoter{m.Voters, m.GrantingVoters} {
		b = binary.AppendUvarint(b, uint64(len(voters)+1))
		for _, v := range voters {
			b = binary.BigEndian.AppendUint32(b, uint32(v.ID))
			if m.Version >= 1 {
				b = append(b, v.DirectoryID[:]...)
			}
			b = append(b, 0)
		}
	}
	return append(b, 0)
}

// ParseLeaderChange reads the value of a leader change.
func ParseLeaderChange(value []byte) (LeaderChange, error) {
	r := controlReader{b: value}
	m := LeaderChange{Version: r.version(), LeaderID: r.int32()}
	for _, voters := range []*[]LeaderChangeVoter{&m.Voters, &m.GrantingVoters} {
		for range r.arrayLen(5) {
			v := LeaderChangeVoter{ID: r.int32()}
			if m.Version >= 1 {
				v.DirectoryID = r.uuid()
			}
			r.tags()
			*voters = append(*voters, v)
		}
	}
	r.tags()
	return m, r.done("leader change")
}

// SnapshotHeader is the first record of a snapshot of the metadata log.
type SnapshotHeader struct{ LastContainedLogTimestamp int64 }

// Encode returns the value's bytes.
func (m SnapshotHeader) Encode() []byte {
	return append(binary.BigEndian.AppendUint64([]byte{0, 0}, uint64(m.LastContainedLogTimestamp)), 0)
}

// ParseSnapshotHeader reads the value of a snapshot header.
func ParseSnapshotHeader(value []byte) (SnapshotHeader, error) {
	r := controlReader{b: value}
	r.version()
	m := SnapshotHeader{LastContainedLogTimestamp: r.int64()}
	r.tags()
	return m, r.done("snapshot header")
}

// SnapshotFooter is the last record of a snapshot; one without it was not finished.
type SnapshotFooter struct{}

// Encode returns the value's bytes.
func (SnapshotFooter) Encode() []byte { return []byte{0, 0, 0} }

// ParseSnapshotFooter reads the value of a snapshot footer.
func ParseSnapshotFooter(value []byte) (SnapshotFooter, error) {
	r := controlReader{b: value}
	r.version()
	r.tags()
	return SnapshotFooter{}, r.done("snapshot footer")
}

// KRaftVersion is the feature level of the metadata quorum's protocol.
type KRaftVersion struct{ KRaftVersion int16 }

// Encode returns the value's bytes.
func (m KRaftVersion) Encode() []byte {
	return append(binary.BigEndian.AppendUint16([]byte{0, 0}, uint16(m.KRaftVersion)), 0)
}

// ParseKRaftVersion reads the value of a kraft version record.
func ParseKRaftVersion(value []byte) (KRaftVersion, error) {
	r := controlReader{b: value}
	r.version()
	m := KRaftVersion{KRaftVersion: r.int16()}
	r.tags()
	return m, r.done("kraft version")
}

// KRaftVoters is the voter set of the metadata quorum.
type KRaftVoters struct{ Voters []KRaftVoter }

// KRaftVoter is one voter and how to reach it.
type KRaftVoter struct {
	ID                     int32
	DirectoryID            kafka.UUID
	Endpoints              []KRaftEndpoint
	MinVersion, MaxVersion int16 // of the kraft protocol
}

// KRaftEndpoint is the address of a voter's listener.
type KRaftEndpoint struct {
	Listener string
	Host     string
	Port     uint16
}

// Encode returns the value's bytes.
func (m KRaftVoters) Encode() []byte {
	b := binary.AppendUvarint([]byte{0, 0}, uint64(len(m.Voters)+1))
	for _, v := range m.Voters {
		b = binary.BigEndian.AppendUint32(b, uint32(v.ID))
		b = append(b, v.DirectoryID[:]...)
		b = binary.AppendUvarint(b, uint64(len(v.Endpoints)+1))
		for _, e := range v.Endpoints {
			b = appendCompactString(b, e.Listener)
			b = appendCompactString(b, e.Host)
			b = binary.BigEndian.AppendUint16(b, e.Port)
			b = append(b, 0)
		}
		b = binary.BigEndian.AppendUint16(b, uint16(v.MinVersion))
		b = binary.BigEndian.AppendUint16(b, uint16(v.MaxVersion))
		b = append(b, 0, 0) // tags of the version range and of the voter
	}
	return append(b, 0)
}

// ParseKRaftVoters reads the value of a voters record.
func ParseKRaftVoters(value []byte) (KRaftVoters, error) {
	r := controlReader{b: value}
	r.version()
	var m KRaftVoters
	for range r.arrayLen(27) {
		v := KRaftVoter{ID: r.int32(), DirectoryID: r.uuid()}
		for range r.arrayLen(5) {
			v.Endpoints = append(v.Endpoints, KRaftEndpoint{Listener: r.str(), Host: r.str(), Port: uint16(r.int16())})
			r.tags()
		}
		v.MinVersion, v.MaxVersion = r.int16(), r.int16()
		r.tags()
		r.tags()
		m.Voters = append(m.Voters, v)
	}
	r.tags()
	return m, r.done("kraft voters")
}

func appendCompactString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s)+1)), s...)
}

// controlReader reads the fields of a control record's value; after a fault it returns zeros.
type controlReader struct {
	b      []byte
	failed bool
}

func (r *controlReader) take(n int) []byte {
	if r.failed || n > len(r.b) {
		r.failed = true
		return nil
	}
	taken := r.b[:n]
	r.b = r.b[n:]
	return taken
}

func (r *controlReader) int16() int16 {
	if b := r.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (r *controlReader) int32() int32 {
	if b := r.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (r *controlReader) int64() int64 {
	if b := r.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (r *controlReader) uuid() (u kafka.UUID) {
	copy(u[:], r.take(16))
	return u
}

func (r *controlReader) version() int16 {
	v := r.int16()
	if v < 0 {
		r.failed = true
	}
	return v
}

func (r *controlReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if r.failed || n <= 0 {
		r.failed = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

// arrayLen reads the length of a compact array whose items have at least leastBytes.
func (r *controlReader) arrayLen(leastBytes int) int {
	n := r.uvarint()
	if n == 0 || n-1 > uint64(len(r.b)/leastBytes) {
		r.failed = true
		return 0
	}
	return int(n - 1)
}

func (r *controlReader) str() string {
	n := r.uvarint()
	if n == 0 || n-1 > uint64(len(r.b)) {
		r.failed = true
		return ""
	}
	return string(r.take(int(n - 1)))
}

// tags passes over the tagged fields of newer versions.
func (r *controlReader) tags() {
	for n := r.uvarint(); n > 0 && !r.failed; n-- {
		r.uvarint()
		size := r.uvarint()
		if size > uint64(len(r.b)) {
			r.failed = true
			return
		}
		r.take(int(size))
	}
}

func (r *controlReader) done(what string) error {
	if r.failed {
		return fmt.Errorf("%w: the value of a %s ends too early or has a wrong length", ErrControl, what)
	}
	return nil
}
