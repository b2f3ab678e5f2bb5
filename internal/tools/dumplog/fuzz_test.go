package dumplog

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/moldau/moldau/internal/tools/cli"
)

// FuzzFiles gives the tool a damaged file of each kind beside a sound log: it prints or refuses it.
func FuzzFiles(f *testing.F) {
	read := func(path string) []byte {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		return data
	}
	sound := read("testdata/kafka/mixed-0/00000000000000000000.log")
	decoders := []string{"--print-data-log", "--offsets-decoder", "--transaction-log-decoder", "--cluster-metadata-decoder", "--share-group-state-decoder", "--index-sanity-check"}
	suffixes := []string{".log", ".index", ".timeindex", ".txnindex", ".snapshot"}
	for i, name := range []string{
		"mixed-0/00000000000000000000.log", "__consumer_offsets-0/00000000000000000000.log",
		"__transaction_state-0/00000000000000000000.log", "__cluster_metadata-0/00000000000000000395-0000000001.checkpoint",
		"__share_group_state-0/00000000000000000000.log",
	} {
		f.Add(uint8(i), uint8(0), read("testdata/kafka/"+name))
	}
	for i, suffix := range []string{"0000.index", "0000.timeindex", "0000.txnindex", "0218.snapshot"} {
		f.Add(uint8(0), uint8(i+1), read("testdata/kafka/mixed-0/0000000000000000"+suffix))
	}
	folder := f.TempDir() // of this process, which tries one input at a time
	f.Fuzz(func(t *testing.T, decoder, kind uint8, data []byte) {
		path := filepath.Join(folder, "00000000000000000000")
		files := map[string][]byte{".log": sound, ".index": nil}
		files[suffixes[int(kind)%len(suffixes)]] = data
		for suffix, content := range files {
			if err := os.WriteFile(path+suffix, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s := cli.Streams{Out: io.Discard, Err: io.Discard}
		_ = Run(t.Context(), s, []string{decoders[int(decoder)%len(decoders)], "--files", path + suffixes[int(kind)%len(suffixes)]})
	})
}
