package segment

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// Apache Kafka's transaction index has no checksum, and an entry with a flipped bit would have
// consumers skip the wrong records. So the last entry is followed by a seal: a mark and the CRC-32C
// of all entries. Kafka's readers stop where no whole entry is left and pass over it. A file
// without it is read as Kafka wrote it, and sealed with the next entry.
const (
	txnSealBytes = 8
	txnSealMark  = 0x4d6f5478 // "MoTx"
)

func appendTxnSeal(data []byte, sum uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(data, txnSealMark), sum)
}

// txnFileBytes is the size of a sealed index.
func txnFileBytes(entries int64) int64 {
	if entries == 0 {
		return 0
	}
	return entries*txnEntryBytes + txnSealBytes
}

// CheckTxnSeal checks the seal of a transaction index whose entries were read; rest is what follows
// them. The error is ErrTxnIndex.
func CheckTxnSeal(entries, rest []byte) error {
	return checkTxnSeal(crc32.Checksum(entries, castagnoli), rest)
}

func checkTxnSeal(sum uint32, rest []byte) error {
	switch {
	case len(rest) == 0:
		return nil // Apache Kafka's
	case len(rest) != txnSealBytes:
		return fmt.Errorf("%w: %d bytes follow the last entry, expected a seal of %d or nothing", ErrTxnIndex, len(rest), txnSealBytes)
	case binary.BigEndian.Uint32(rest) != txnSealMark || binary.BigEndian.Uint32(rest[4:]) != sum:
		return fmt.Errorf("%w: its seal is %x, expected %x", ErrTxnIndex, rest, appendTxnSeal(nil, sum))
	}
	return nil
}

// txnSum extends the checksum of the entries before e by e.
func txnSum(sum uint32, e AbortedTransaction) uint32 {
	return crc32.Update(sum, castagnoli, appendTxnEntry(nil, e))
}
