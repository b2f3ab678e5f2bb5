package segment

import (
	"encoding/hex"
	"errors"
	"testing"
)

func TestTxnIndexEntryHasKafkasBytes(t *testing.T) {
	t.Parallel()
	const want = "0000" + "0000000000000007" + "0000000000000001" + "0000000000000003" + "0000000000000004"
	if got := hex.EncodeToString(appendTxnEntry(nil, AbortedTransaction{7, 1, 3, 4})); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if _, err := parseTxnEntry(appendTxnEntry(nil, AbortedTransaction{7, 1, 3, 4}), 4, -1); !errors.Is(err, ErrTxnIndex) {
		t.Errorf("an entry of another segment: %v", err)
	}
	// A kill or power loss may leave the space of an entry. Taken for one, it hides the records of
	// producer 0 from whoever reads committed ones.
	if e, err := parseTxnEntry(make([]byte, txnEntryBytes), 0, -1); !errors.Is(err, ErrTxnIndex) {
		t.Errorf("zeros are %+v, %v", e, err)
	}
}

func FuzzTxnIndexEntry(f *testing.F) {
	f.Add(appendTxnEntry(nil, AbortedTransaction{7, 1, 3, 4}))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < txnEntryBytes {
			return
		}
		e, err := parseTxnEntry(data, 0, -1)
		if err == nil && string(appendTxnEntry(nil, e)) != string(data[:txnEntryBytes]) {
			t.Fatalf("%+v is not what was read", e)
		}
	})
}
