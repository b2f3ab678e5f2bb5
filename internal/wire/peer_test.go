package wire

import (
	"errors"
	"reflect"
	"runtime"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

var peerResponses = []kmsg.Response{&PeerHelloResponse{}, &PeerRaftResponse{}, &PeerMetadataResponse{}, &PeerSnapshotResponse{}, &PeerForwardResponse{}, &PeerLoadResponse{}, &PeerBalancerResponse{}}

// emptyOf returns a new message of m's type.
func emptyOf[T any](m T) T { return reflect.New(reflect.TypeOf(m).Elem()).Interface().(T) }

func TestPeerTableHidesFromClients(t *testing.T) {
	t.Parallel()
	last := int16(-1)
	for _, api := range PeerAPIs() {
		if api.Key <= last || api.Listeners&PeersOnly == 0 {
			t.Errorf("%s is out of order, or open to clients", api.Name)
		}
		last = api.Key
		if _, public := LookupAPI(api.Key); public {
			t.Errorf("%s is in the table that clients see", api.Name)
		}
		request := api.NewRequest(api.MaxAdvertised)
		if request.Key() != api.Key || request.ResponseKind().Key() != api.Key || request.ResponseKind().RequestKind().Key() != api.Key {
			t.Errorf("%s: a message has another key", api.Name)
		}
		if request.MaxVersion() != api.MaxAdvertised || !request.IsFlexible() || !api.IsFlexible(api.MinServed) {
			t.Errorf("%s: kmsg ends at version %d, flexible: %v", api.Name, request.MaxVersion(), request.IsFlexible())
		}
	}
	for _, api := range APIs() {
		if api.Listeners&PeersOnly != 0 {
			t.Errorf("%s is kept from clients and shown to them", api.Name)
		}
	}
}

func TestPeerResponsesComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	for _, kind := range peerResponses {
		for seed := range uint64(50) {
			response := emptyOf(kind)
			fill(reflect.ValueOf(response).Elem(), &byteSource{data: randomBytes(seed, 2000)})
			body := response.AppendTo(nil)
			again := emptyOf(kind)
			if err := again.ReadFrom(body); err != nil {
				t.Fatalf("%T, seed %d: %v", kind, seed, err)
			}
			if got := again.AppendTo(nil); string(got) != string(body) {
				t.Fatalf("%T, seed %d:\n%x\n%x", kind, seed, got, body)
			}
			for cut := range body {
				if err := emptyOf(kind).ReadFrom(body[:cut]); err == nil {
					t.Fatalf("%T, seed %d: cut at %d of %d is accepted", kind, seed, cut, len(body))
				}
			}
		}
	}
}

// A later version may add a tagged field to every message, such as a proof of knowing the cluster's secret to the
// hello: nodes of different releases talk to each other.
func TestPeerMessagesSkipTaggedFields(t *testing.T) {
	t.Parallel()
	later := []byte{1, 100, 3, 'a', 'b', 'c'} // one field of number 100
	for _, kind := range peerResponses {
		body := kind.AppendTo(nil)
		if err := emptyOf(kind).ReadFrom(append(body[:len(body)-1], later...)); err != nil {
			t.Errorf("%T: %v", kind, err)
		}
		request := kind.RequestKind()
		body = request.AppendTo(nil)
		body = append(body[:len(body)-1], later...)
		api, _ := LookupPeerAPI(request.Key())
		if _, err := DecodedBytes(api, 0, body); err != nil {
			t.Errorf("%T: %v", request, err)
		}
		if _, err := DecodeBody(api, 0, body); err != nil {
			t.Errorf("%T: %v", request, err)
		}
	}
	body := (&PeerHelloRequest{FormatVersion: SpokenFormats.Min, MaxFormat: SpokenFormats.Max, ClusterID: "c", NodeID: 3, Purpose: PurposeRaft}).AppendTo(nil)
	body = append(body[:len(body)-1], 2, 0, 2, 0, 5, 9, 3, 'a', 'b', 'c')
	api, _ := LookupPeerAPI(KeyPeerHello)
	if _, err := DecodedBytes(api, 0, body); err != nil {
		t.Fatal(err)
	}
	request, err := DecodeBody(api, 0, body)
	if err != nil || request.(*PeerHelloRequest).NodeID != 3 || request.(*PeerHelloRequest).MaxFormat != 5 {
		t.Fatalf("%+v, %v", request, err)
	}
}

// The memory for the request inside counts, and one that is malformed is the whole request's fault.
func TestForwardedRequestsAreInspected(t *testing.T) {
	t.Parallel()
	forward, _ := LookupPeerAPI(KeyPeerForward)
	create, _ := LookupAPI(KeyCreateTopics)
	body := randomRequest(create, 7, 4).AppendTo(nil)
	f := &PeerForwardRequest{APIKey: KeyCreateTopics, APIVersion: 7, Body: body}
	inner, err := DecodedBytes(create, 7, body)
	if err != nil || inner == 0 {
		t.Fatal(inner, err)
	}
	if whole, err := DecodedBytes(forward, 0, f.AppendTo(nil)); err != nil || whole < inner {
		t.Errorf("%d bytes for a request whose inner one takes %d, %v", whole, inner, err)
	}
	f.Body = body[:len(body)/2]
	if _, err := DecodedBytes(forward, 0, f.AppendTo(nil)); !errors.Is(err, ErrMalformed) {
		t.Errorf("a cut request inside: %v", err)
	}
	for _, c := range []struct{ key, version int16 }{{KeyCreateTopics, 1}, {KeyFetch, 17}, {KeyPeerForward, 0}, {KeyPeerRaft, 0}, {99, 0}} {
		f.APIKey, f.APIVersion = c.key, c.version
		if _, ok := f.API(); ok {
			t.Errorf("key %d version %d can be forwarded", c.key, c.version)
		}
		if _, err := DecodedBytes(forward, 0, f.AppendTo(nil)); err != nil {
			t.Errorf("key %d version %d: %v", c.key, c.version, err)
		}
	}
}

func FuzzPeerResponses(f *testing.F) {
	for kind := range peerResponses {
		response := emptyOf(peerResponses[kind])
		fill(reflect.ValueOf(response).Elem(), &byteSource{data: randomBytes(3, 2000)})
		f.Add(kind, response.AppendTo(nil))
		f.Add(kind, []byte{0xff, 0xff, 0xff, 0xff, 0x0f})
	}
	// A hello whose count of voters, the last but one byte, is a lie.
	body := (&PeerHelloResponse{}).AppendTo(nil)
	f.Add(0, append(append(body[:len(body)-2], 0xff, 0xff, 0xff, 0x7f), make([]byte, 100)...))
	f.Fuzz(func(t *testing.T, kind int, body []byte) {
		if kind < 0 || kind >= len(peerResponses) {
			return
		}
		response := emptyOf(peerResponses[kind])
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := response.ReadFrom(body)
		runtime.ReadMemStats(&after)
		// The smallest voter has 22 bytes and takes 48, the smallest listener 5 and takes 40. Others
		// allocate meanwhile.
		if limit := uint64(len(body))*16 + 1<<20; after.TotalAlloc-before.TotalAlloc > limit {
			t.Fatalf("%T: %d bytes allocated for %d", response, after.TotalAlloc-before.TotalAlloc, len(body))
		}
		if err != nil {
			return
		}
		again := emptyOf(response)
		if err := again.ReadFrom(response.AppendTo(nil)); err != nil {
			t.Fatalf("%T: encoded again it cannot be read: %v", response, err)
		}
	})
}
