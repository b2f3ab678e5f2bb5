package segment

import (
	"math"
	"strings"
)

// Suffixes of the files in a partition's folder.
const (
	LogSuffix       = ".log"
	IndexSuffix     = ".index"
	TimeIndexSuffix = ".timeindex"
	TxnIndexSuffix  = ".txnindex"
	SnapshotSuffix  = ".snapshot"
	// DeletedSuffix is appended to all others when a file waits for its removal.
	DeletedSuffix = ".deleted"
	// CleanedSuffix is appended while compaction writes a segment, SwapSuffix once it is complete
	// and about to take the place of those it was made from.
	CleanedSuffix = ".cleaned"
	SwapSuffix    = ".swap"
)

// MaxSizeBytes is the largest segment: positions in the index have 31 bits.
const MaxSizeBytes = math.MaxInt32

// FileName returns the name of the file of baseOffset, which is not negative, with suffix.
func FileName(baseOffset int64, suffix string) string {
	const digits = 20
	name := make([]byte, digits, digits+len(suffix)+len(DeletedSuffix))
	for i := digits - 1; i >= 0; i-- {
		name[i] = byte('0' + baseOffset%10)
		baseOffset /= 10
	}
	return string(append(name, suffix...))
}

// ParseFileName splits a name as FileName makes it; suffix includes DeletedSuffix where the
// name has it. It reports false for every other name.
func ParseFileName(name string) (baseOffset int64, suffix string, ok bool) {
	const digits = 20
	if len(name) <= digits || name[digits] != '.' {
		return 0, "", false
	}
	for _, c := range []byte(name[:digits]) {
		if c < '0' || c > '9' || baseOffset > (math.MaxInt64-int64(c-'0'))/10 {
			return 0, "", false
		}
		baseOffset = baseOffset*10 + int64(c-'0')
	}
	switch suffix = name[digits:]; strings.TrimSuffix(suffix, DeletedSuffix) {
	case LogSuffix, IndexSuffix, TimeIndexSuffix, TxnIndexSuffix, SnapshotSuffix:
		return baseOffset, suffix, true
	}
	return 0, "", false
}
