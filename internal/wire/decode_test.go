package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"runtime"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// randomRequest returns a filled request that its schema allows in its version.
func randomRequest(api *API, version int16, seed uint64) kmsg.Request {
	request := api.NewRequest(version)
	fill(reflect.ValueOf(request).Elem(), &byteSource{data: randomBytes(seed, 2000)})
	request.SetVersion(version)
	if m, ok := request.(*kmsg.MetadataRequest); ok && version == 0 && m.Topics == nil {
		m.Topics = []kmsg.MetadataRequestTopic{} // null means all from version 1 on
	}
	if m, ok := request.(*kmsg.MetadataRequest); ok && version < 10 {
		for i := range m.Topics {
			if m.Topics[i].Topic == nil {
				m.Topics[i].Topic = kmsg.StringPtr("t")
			}
		}
	}
	if o, ok := request.(*kmsg.OffsetFetchRequest); ok && version < 2 && o.Topics == nil {
		o.Topics = []kmsg.OffsetFetchRequestTopic{}
	}
	return request
}

func eachVersion(t *testing.T, check func(t *testing.T, api *API, version int16)) {
	all := allAPIs()
	for i := range all {
		api := &all[i]
		for version := api.MinServed; version <= api.MaxAdvertised; version++ {
			t.Run(fmt.Sprintf("%s v%d", api.Name, version), func(t *testing.T) { check(t, api, version) })
		}
	}
}

func TestInspectAcceptsWhatKmsgWrites(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, api *API, version int16) {
		for seed := range uint64(20) {
			body := randomRequest(api, version, seed).AppendTo(nil)
			in := inspector{src: body, version: version, flexible: api.IsFlexible(version)}
			in.structure(parsedShapes[api.Key])
			if in.problem != "" || len(in.src) != 0 {
				t.Fatalf("seed %d: %q, %d of %d bytes left: %x", seed, in.problem, len(in.src), len(body), body)
			}
			decoded, err := DecodeBody(api, version, body)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if again := decoded.AppendTo(nil); string(again) != string(body) {
				t.Fatalf("seed %d: decoded and encoded again:\n%x\n%x", seed, again, body)
			}
		}
	})
}

func TestBodiesCutAtEveryByte(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, api *API, version int16) {
		body := randomRequest(api, version, 7).AppendTo(nil)
		for cut := range body {
			if _, err := DecodedBytes(api, version, body[:cut]); !errors.Is(err, ErrMalformed) {
				t.Fatalf("cut at %d of %d: %v", cut, len(body), err)
			}
		}
	})
}

// TestLyingLengths puts hostile values at every position, where some of them hit a length, a
// count or a tag section: never a panic, never an allocation above what inspect announced.
func TestLyingLengths(t *testing.T) {
	t.Parallel()
	lies := [][]byte{
		{0xff, 0xff, 0xff, 0xff}, {0xff, 0xff, 0xff, 0xfe}, {0x7f, 0xff, 0xff, 0xff}, {0x80, 0, 0, 0}, {0, 0, 0, 0},
		{0xff, 0xff, 0xff, 0xff, 0x0f}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, {0xff, 0xff}, {0x7f, 0xff}, {0x80, 0x80, 0x80, 0x80, 0x00},
	}
	eachVersion(t, func(t *testing.T, api *API, version int16) {
		body := randomRequest(api, version, 3).AppendTo(nil)
		for at := range body {
			for _, lie := range lies {
				hostile := append([]byte(nil), body...)
				copy(hostile[at:], lie)
				checkBounded(t, api, version, hostile)
			}
		}
	})
}

func checkBounded(t *testing.T, api *API, version int16, body []byte) {
	t.Helper()
	announced, err := DecodedBytes(api, version, body)
	if err != nil {
		return
	}
	elementCost := elementCosts[api.Key]
	if api.Key == KeyPeerForward { // of any request
		elementCost = slices.Max(slices.Collect(maps.Values(elementCosts)))
	}
	if limit := int64(len(body)) * (elementCost + tagSectionCost); announced > limit {
		t.Fatalf("%s v%d: %d bytes announced for a body of %d", api.Name, version, announced, len(body))
	}
	_, _ = DecodeBody(api, version, body)
}

func TestInspectRejectsLies(t *testing.T) {
	t.Parallel()
	metadata, _ := LookupAPI(KeyMetadata)
	topics, _ := LookupAPI(KeyDescribeTopicPartitions)
	fetch, _ := LookupAPI(KeyFetch)
	for name, c := range map[string]struct {
		api     *API
		version int16
		body    []byte
	}{
		// One byte per element is left, so that kmsg alone would allocate a struct for each.
		"count equal to the bytes left": {metadata, 1, append(binary.BigEndian.AppendUint32(nil, 1000), make([]byte, 1000)...)},
		"count of tags":                 {topics, 0, []byte{1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f}},
		"count of tags in a tag":        {fetch, 15, append(append(make([]byte, 17), 1, 1, 1, 1), 1, 1, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f)},
		"null array":                    {metadata, 0, []byte{0xff, 0xff, 0xff, 0xff}},
		"null string":                   {metadata, 1, []byte{0, 0, 0, 1, 0xff, 0xff}},
		"string over 32767":             {topics, 0, append([]byte{2, 0x81, 0x80, 0x02}, make([]byte, 40000)...)},
		"uvarint of six bytes":          {topics, 0, []byte{0x81, 0x80, 0x80, 0x80, 0x80, 0x00, 0, 0, 0, 0, 0}},
	} {
		if _, err := DecodedBytes(c.api, c.version, c.body); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// allocationFactor is how often a decoded slice is allocated: more than once under the race detector only.
var allocationFactor int64 = 1

// TestDecodedBytesCoversAllocation compares the announcement with what decoding really allocates
// for the bodies that grow most: arrays of the smallest elements, and a tagged field per struct.
func TestDecodedBytesCoversAllocation(t *testing.T) {
	repeat := func(head []byte, count int, element ...byte) []byte {
		for range count {
			head = append(head, element...)
		}
		return head
	}
	const n = 20000
	count := binary.AppendUvarint(nil, n+1)
	for name, c := range map[string]struct {
		key, version int16
		body         []byte
	}{
		"metadata topics":   {KeyMetadata, 1, repeat([]byte{0, 0, n >> 8, n & 0xff}, n, 0, 0)},
		"tags":              {KeyDescribeTopicPartitions, 0, append(repeat(count, n, 1, 1, 9, 0), 0, 0, 0, 0, 0xff, 0)},
		"fetch partitions":  {KeyFetch, 4, repeat(append(make([]byte, 17), 0, 0, 0, 1, 0, 0, 0, 0, n>>8, n&0xff), n, make([]byte, 16)...)},
		"offset fetch":      {KeyOffsetFetch, 5, repeat([]byte{0, 0, 0, 0, n >> 8, n & 0xff}, n, 0, 0, 0, 0, 0, 0)},
		"group names":       {KeyDescribeGroups, 0, repeat([]byte{0, 0, n >> 8, n & 0xff}, n, 0, 1, 'g')},
		"incremental alter": {KeyIncrementalAlterConfigs, 0, append(repeat([]byte{0, 0, 0, 1, 2, 0, 0, 0, 0, n >> 8, n & 0xff}, n, 0, 0, 0, 0, 1, 'v'), 0)},
	} {
		api, _ := LookupAPI(c.key)
		announced, err := DecodedBytes(api, c.version, c.body)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := DecodeBody(api, c.version, c.body); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		runtime.ReadMemStats(&after)
		if allocated := int64(after.TotalAlloc - before.TotalAlloc); allocated > announced*allocationFactor {
			t.Errorf("%s: %d bytes announced, %d allocated", name, announced, allocated)
		}
	}
}

func TestParseHeader(t *testing.T) {
	t.Parallel()
	v1 := []byte{0, 3, 0, 8, 0, 0, 0, 9, 0, 2, 'm', 'e', 0xaa}
	h, api, body, err := ParseHeader(v1, nil)
	if err != nil || api.Key != KeyMetadata || h.APIVersion != 8 || h.CorrelationID != 9 || *h.ClientID != "me" || string(body) != "\xaa" {
		t.Errorf("v1: %+v %v %x %v", h, api, body, err)
	}
	v2 := []byte{0, 3, 0, 9, 0, 0, 0, 9, 0xff, 0xff, 1, 5, 2, 7, 7, 0xaa}
	me := h.ClientID
	h, _, body, err = ParseHeader(v2, me)
	if err != nil || h.ClientID != nil || string(body) != "\xaa" {
		t.Errorf("v2: %+v %x %v", h, body, err)
	}
	again, _, _, err := ParseHeader(v1, me)
	if err != nil || again.ClientID != me {
		t.Errorf("the client id is not used again: %v", err)
	}
	v1[11] = 'i'
	if other, _, _, err := ParseHeader(v1, me); err != nil || *other.ClientID != "mi" {
		t.Errorf("another client id: %q, %v", *other.ClientID, err)
	}
	for cut := range v2[:15] {
		if _, _, _, err := ParseHeader(v2[:cut], nil); !errors.Is(err, ErrMalformed) {
			t.Errorf("cut at %d: %v", cut, err)
		}
	}
	_, _, _, err = ParseHeader([]byte{0, 99, 0, 1, 0, 0, 0, 1, 0, 0}, nil)
	if unknown, ok := errors.AsType[*UnknownAPIError](err); !ok || unknown.Key != 99 {
		t.Errorf("unknown key: %v", err)
	}
}

func FuzzHeader(f *testing.F) {
	f.Add([]byte{0, 3, 0, 8, 0, 0, 0, 9, 0, 2, 'm', 'e', 0xaa})
	f.Add([]byte{0, 3, 0, 9, 0, 0, 0, 9, 0xff, 0xff, 1, 5, 2, 7, 7, 0xaa})
	f.Add([]byte{0, 18, 0, 99, 0, 0, 0, 9, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, frame []byte) {
		_, _, body, err := ParseHeader(frame, nil)
		if err == nil && len(body) > len(frame)-MinRequestBytes-2 {
			t.Fatalf("body of %d bytes in a frame of %d", len(body), len(frame))
		}
	})
}

// FuzzRequestBody decodes any body of any API in any version as the server does.
func FuzzRequestBody(f *testing.F) {
	all := allAPIs()
	for i := range all {
		api := &all[i]
		for _, version := range []int16{api.MinServed, api.MaxAdvertised} {
			f.Add(api.Key, version, randomRequest(api, version, 5).AppendTo(nil))
		}
	}
	f.Add(KeyDescribeTopicPartitions, int16(0), []byte{1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		api, known := lookupAny(key)
		if !known || !api.Serves(version) {
			return
		}
		checkBounded(t, api, version, body)
	})
}
