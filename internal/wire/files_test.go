package wire

import (
	"bytes"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env/vfs"
)

// readOnly is a Sender that these tests read only.
type readOnly struct{ vfs.File }

func (readOnly) SendTo(uintptr, int64, int) (int, error) { return 0, syscall.EAGAIN }

// TestFilesAreEncodedAsBytes encodes responses with records in files and such with the same records in
// memory, in all versions.
func TestFilesAreEncodedAsBytes(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	file, err := mem.Create("/log")
	if err != nil {
		t.Fatal(err)
	}
	content := randomBytes(1, 1000)
	if _, err := file.WriteAt(content, 0); err != nil {
		t.Fatal(err)
	}
	var cuts vfs.Cuts
	at := func(position, size int) *vfs.Range {
		r := vfs.NewRange(readOnly{file}, int64(position), size, &cuts, cuts.Count())
		return &r
	}
	response := func(records ...[]byte) *kmsg.FetchResponse {
		r := kmsg.NewPtrFetchResponse()
		r.Default()
		for i, b := range records {
			p := kmsg.NewFetchResponseTopicPartition()
			p.Partition, p.RecordBatches = int32(i), b
			if i%2 == 0 {
				r.Topics = append(r.Topics, kmsg.FetchResponseTopic{Topic: "t"})
			}
			last := &r.Topics[len(r.Topics)-1]
			last.Partitions = append(last.Partitions, p)
		}
		return r
	}
	inMemory := &FetchBody{Response: response(content[:0], content[10:300], content[300:301], content[5:6], content[600:1000])}
	inFiles := &FetchBody{Response: response([]byte{}, []byte{}, content[300:301], []byte{}, []byte{}),
		Files: []FetchFile{{1, at(10, 290)}, {3, at(5, 1)}, {4, at(600, 400)}}}
	api, _ := LookupAPI(KeyFetch)
	for version := api.MinServed; version <= api.MaxAdvertised; version++ {
		var want, got Frame
		want.Encode(api, version, 5, inMemory)
		got.Encode(api, version, 5, inFiles)
		var data []byte
		for _, part := range got.AppendParts(nil) {
			data = append(data, part.Data...)
			if part.File != nil {
				b, err := part.File.Bytes()
				if err != nil {
					t.Fatal(err)
				}
				data = append(data, b...)
			}
		}
		if !got.HasFiles() || want.HasFiles() || got.SizeBytes() != want.SizeBytes() || !bytes.Equal(data, want.Bytes()) {
			t.Fatalf("version %d: %d bytes, want %d:\n got %x\nwant %x", version, got.SizeBytes(), want.SizeBytes(), data, want.Bytes())
		}
		if got.Reset(); got.HasFiles() {
			t.Fatal("an empty frame has files")
		}
	}
}
