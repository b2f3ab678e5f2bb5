package wire

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func randomBytes(seed uint64, n int) []byte {
	random := rand.New(rand.NewPCG(seed, 1))
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(random.Uint64())
	}
	return data
}

// checkSameAsKmsg compares a hand-written encoder with kmsg's for one response.
func checkSameAsKmsg(t *testing.T, body ResponseBody, response kmsg.Response, version int16) {
	t.Helper()
	response.SetVersion(version)
	want := response.AppendTo(nil)
	var f Frame
	f.buf = append(f.buf, 1, 2, 3)
	body.AppendTo(&f, version)
	f.size = len(f.buf)
	for _, e := range f.external {
		f.size += e.part.sizeBytes()
	}
	if got := f.Bytes()[3:]; !bytes.Equal(got, want) {
		t.Fatalf("%T version %d:\n got %x\nwant %x", response, version, got, want)
	}
}

func checkResponses(t *testing.T, data []byte) {
	t.Helper()
	fetch, produce := kmsg.NewPtrFetchResponse(), kmsg.NewPtrProduceResponse()
	source := &byteSource{data: data}
	fill(reflect.ValueOf(fetch).Elem(), source)
	fill(reflect.ValueOf(produce).Elem(), source)
	for version := int16(0); version <= 18; version++ {
		checkSameAsKmsg(t, &FetchBody{Response: fetch}, fetch, version)
		if version <= 13 {
			checkSameAsKmsg(t, &ProduceBody{Response: produce}, produce, version)
		}
	}
}

func TestEncodersEqualKmsg(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { checkResponses(t, randomBytes(seed, 4000)) })
	}
}

func TestEncodersOmitDefaultTags(t *testing.T) {
	t.Parallel()
	fetch, produce := kmsg.NewPtrFetchResponse(), kmsg.NewPtrProduceResponse()
	fetch.Topics = []kmsg.FetchResponseTopic{{Topic: "t", Partitions: []kmsg.FetchResponseTopicPartition{kmsg.NewFetchResponseTopicPartition()}}}
	produce.Topics = []kmsg.ProduceResponseTopic{{Topic: "t", Partitions: []kmsg.ProduceResponseTopicPartition{kmsg.NewProduceResponseTopicPartition()}}}
	for version := int16(0); version <= 18; version++ {
		checkSameAsKmsg(t, &FetchBody{Response: fetch}, fetch, version)
		checkSameAsKmsg(t, &ProduceBody{Response: produce}, produce, min(version, 13))
	}
}

func FuzzResponseEncoders(f *testing.F) {
	for seed := range uint64(4) {
		f.Add(randomBytes(seed, 600))
	}
	f.Fuzz(checkResponses)
}

func TestFrameDoesNotCopyRecords(t *testing.T) {
	t.Parallel()
	records := []byte("record bytes")
	released := 0
	response := kmsg.NewPtrFetchResponse()
	partition := kmsg.NewFetchResponseTopicPartition()
	partition.RecordBatches = records
	response.Topics = []kmsg.FetchResponseTopic{{Topic: "t", Partitions: []kmsg.FetchResponseTopicPartition{partition, partition}}}
	body := &FetchBody{Response: response, OnRelease: func() { released++ }}

	var f Frame
	api, _ := LookupAPI(KeyFetch)
	f.Encode(api, 12, 77, body)
	var buffers net.Buffers = f.AppendBuffers(nil)
	shared := 0
	total := 0
	for _, b := range buffers {
		total += len(b)
		if len(b) == len(records) && &b[0] == &records[0] {
			shared++
		}
	}
	if shared != 2 {
		t.Errorf("%d of 2 record sets are written from where they lie", shared)
	}
	if total != f.SizeBytes() {
		t.Errorf("SizeBytes %d, buffers hold %d", f.SizeBytes(), total)
	}
	frame := f.Bytes()
	decoded := kmsg.NewPtrFetchResponse()
	decoded.SetVersion(12)
	if err := decoded.ReadFrom(frame[9:]); err != nil { // size, correlation id, tag section
		t.Fatal(err)
	}
	if got := decoded.Topics[0].Partitions[1].RecordBatches; !bytes.Equal(got, records) {
		t.Errorf("second partition's records are %q", got)
	}
	body.Release()
	body.Release()
	if released != 1 {
		t.Errorf("buffers were released %d times", released)
	}
}

func TestResponseHeaderVersions(t *testing.T) {
	t.Parallel()
	for _, api := range APIs() {
		for version := api.MinServed; version <= api.MaxAdvertised; version++ {
			response := api.NewRequest(version).ResponseKind()
			response.SetVersion(version)
			header := 8
			if api.Key != KeyAPIVersions && version >= api.FlexibleFrom {
				header = 9
			}
			var f Frame
			f.Encode(&api, version, 5, Message(response))
			if got, want := len(f.Bytes()), header+len(response.AppendTo(nil)); got != want {
				t.Errorf("%s version %d: frame has %d bytes, want %d", api.Name, version, got, want)
			}
		}
	}
}
