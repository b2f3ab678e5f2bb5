package checkpoint

import (
	"bytes"
	"fmt"
	"hash/crc32"
)

// Apache Kafka's checkpoint files have no checksum, and a digit that a flipped bit has turned into
// another one would be believed: a log start offset hides records, a leader epoch makes clients
// look for a divergence. So the last entry is followed by the CRC-32C of what precedes it, as 32
// blanks and tabs, which Kafka's reader, and any other that splits a line at white space,
// passes over. A file without them is read as Kafka wrote it.
const sealBytes = 32

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal adds the checksum behind the last line's fields.
func seal(data []byte) []byte {
	text := bytes.TrimSuffix(data, []byte("\n"))
	sum, sealed := crc32.Checksum(text, castagnoli), bytes.Clone(text)
	for bit := range sealBytes {
		sealed = append(sealed, " \t"[sum>>bit&1])
	}
	return append(sealed, '\n')
}

// unseal checks the checksum and returns the file without it.
func unseal(path string, data []byte) ([]byte, error) {
	text := bytes.TrimSuffix(data, []byte("\n"))
	bare := bytes.TrimRight(text, " \t\r")
	found := bytes.TrimSuffix(text[len(bare):], []byte("\r")) // of an editor, or a tab with a flipped bit
	if len(found) == 0 {
		return data, nil
	}
	want, sum := crc32.Checksum(bare, castagnoli), uint32(0)
	if len(found) == sealBytes {
		for bit, c := range found {
			if c == '\t' {
				sum |= 1 << bit
			}
		}
	}
	if sum != want {
		return nil, &ParseError{Path: path, Expected: fmt.Sprintf("the checksum %08x in blanks and tabs behind the last entry", want), Got: fmt.Sprintf("%08x in %d of %d", sum, len(found), sealBytes)}
	}
	return bare, nil
}
