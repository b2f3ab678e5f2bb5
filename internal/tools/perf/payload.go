package perf

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/moldau/moldau/internal/tools/cli"
)

// payloads makes the records' values.
type payloads struct {
	size      int      // of random letters; 0: one of the others
	lines     [][]byte // one of them at random
	monotonic bool     // the record's number
	random    *rand.Rand
}

func newPayloads() *payloads {
	// The same letters in every run, so that runs compare.
	return &payloads{random: rand.New(rand.NewPCG(0, 0))}
}

// letters lie in A to Z. Eight come from one random number.
func appendLetters(dst []byte, random *rand.Rand, size int) []byte {
	for len(dst) < size {
		bits := random.Uint64()
		for range min(8, size-len(dst)) {
			dst = append(dst, 'A'+byte(bits)%26)
			bits >>= 8
		}
	}
	return dst
}

// value writes the value of a record into a buffer that nothing else uses.
func (p *payloads) value(buffer []byte, number int64) ([]byte, error) {
	switch {
	case len(p.lines) > 0:
		return append(buffer[:0], p.lines[p.random.IntN(len(p.lines))]...), nil
	case p.size > 0:
		return appendLetters(buffer[:0], p.random, p.size), nil
	case p.monotonic:
		return strconv.AppendInt(buffer[:0], number, 10), nil
	}
	return nil, errors.New("java.lang.IllegalArgumentException: No payload file, record size or payload-monotonic option provided.") //nolint:staticcheck // the words of Kafka's tools
}

// readPayloads splits a file at a regular expression.
func readPayloads(s cli.Streams, path, delimiter string) ([][]byte, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		absolute = path
	}
	s.Println("Reading payloads from: " + absolute)
	content, err := os.ReadFile(path)
	if err != nil || len(content) == 0 {
		return nil, errors.New("java.lang.IllegalArgumentException: File does not exist or empty file provided.") //nolint:staticcheck // the words of Kafka's tools
	}
	pattern, err := regexp.Compile(delimiter)
	if err != nil {
		return nil, fmt.Errorf("--payload-delimiter %s: %w", delimiter, err)
	}
	lines := splitPayloads(string(content), pattern)
	s.Printf("Number of records read: %d\n", len(lines))
	return lines, nil
}

// splitPayloads splits as Java's Scanner does: one delimiter at the begin and one at the end
// belong to no payload, two in a row have an empty one between them.
func splitPayloads(text string, delimiter *regexp.Regexp) (lines [][]byte) {
	parts := delimiter.Split(text, -1)
	if len(parts) > 1 && parts[0] == "" {
		parts = parts[1:]
	}
	if len(parts) > 0 && parts[len(parts)-1] == "" {
		parts = parts[:len(parts)-1]
	}
	for _, part := range parts {
		lines = append(lines, []byte(part))
	}
	return lines
}
