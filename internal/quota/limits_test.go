package quota

import (
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/moldau/moldau/internal/metadata"
)

// set is the limits of one kind, as the test draws them: "<default>" stands for everybody.
type set map[[2]string]float64 // user, client id; "" is absent

const byDefault = "<default>"

// image makes the metadata that has them.
func (s set) image(t testing.TB, key string) *metadata.Image {
	t.Helper()
	delta := metadata.NewDelta(metadata.EmptyImage())
	for e, limit := range s {
		r := &metadata.ClientQuotaRecord{Key: key, Value: limit}
		for i, kind := range []string{metadata.QuotaUser, metadata.QuotaClientID} {
			switch name := e[i]; name {
			case "":
			case byDefault:
				r.Entity = append(r.Entity, metadata.QuotaEntityPart{Type: kind})
			default:
				r.Entity = append(r.Entity, metadata.QuotaEntityPart{Type: kind, Name: &name})
			}
		}
		if err := delta.Replay(r); err != nil {
			t.Fatal(err)
		}
	}
	return delta.Apply(1, 1)
}

// naive answers as Apache Kafka's manual describes it: first who shares the quota, from the first
// of eight levels where something is set, then the limit of those who share.
func (s set) naive(user, clientID string) (sharedUser, sharedClientID string, limit float64, limited bool) {
	sharedUser, sharedClientID = "", clientID
	for level, e := range [][2]string{
		{user, clientID}, {user, byDefault}, {user, ""}, {byDefault, clientID}, {byDefault, byDefault}, {byDefault, ""},
	} {
		if e[0] == "" || level != 2 && level != 5 && e[1] == "" {
			continue
		}
		if _, isSet := s[e]; isSet {
			sharedUser, sharedClientID = user, clientID
			if e[1] == "" {
				sharedClientID = ""
			}
			break
		}
	}
	var order [][2]string
	switch {
	case sharedUser != "" && sharedClientID != "":
		order = [][2]string{{user, clientID}, {user, byDefault}, {byDefault, clientID}, {byDefault, byDefault}}
	case sharedUser != "":
		order = [][2]string{{user, ""}, {byDefault, ""}}
	case sharedClientID != "":
		order = [][2]string{{"", clientID}, {"", byDefault}}
	}
	for _, e := range order {
		if limit, isSet := s[e]; isSet {
			return sharedUser, sharedClientID, limit, true
		}
	}
	return sharedUser, sharedClientID, 0, false
}

func TestPrecedenceIsKafkas(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		names := rapid.SampledFrom([]string{"", "a", "b", byDefault})
		s := set{}
		for range rapid.IntRange(0, 12).Draw(rt, "limits") {
			e := [2]string{names.Draw(rt, "user"), names.Draw(rt, "client id")}
			if e != [2]string{} {
				s[e] = float64(len(s) + 1)
			}
		}
		l := newLimits(s.image(t, "producer_byte_rate"))
		user := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "the user")
		clientID := rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(rt, "the client id")
		wantUser, wantClientID, want, wantLimited := s.naive(user, clientID)
		shared, limit, limited := l.find(produceBytes, user, clientID)
		if limited != wantLimited || limited && (limit != want || shared.user != wantUser || shared.clientID != wantClientID) {
			rt.Fatalf("%v: user %q, client id %q: %+v %v %v, want %q %q %v %v", s, user, clientID, shared, limit, limited, wantUser, wantClientID, want, wantLimited)
		}
		if _, _, limited := l.find(fetchBytes, user, clientID); limited {
			rt.Fatal("a limit of another kind counts")
		}
	})
}

func TestPrecedenceByTable(t *testing.T) {
	t.Parallel()
	all := set{
		{"a", "x"}: 1, {"a", byDefault}: 2, {"a", ""}: 3, {byDefault, "x"}: 4, {byDefault, byDefault}: 5, {byDefault, ""}: 6, {"", "x"}: 7, {"", byDefault}: 8,
	}
	order := [][2]string{{"a", "x"}, {"a", byDefault}, {"a", ""}, {byDefault, "x"}, {byDefault, byDefault}, {byDefault, ""}, {"", "x"}, {"", byDefault}}
	for i := range order {
		l := newLimits(all.image(t, "request_percentage"))
		if _, limit, _ := l.find(requestTime, "a", "x"); limit != float64(i+1) {
			t.Errorf("with levels from %d on, %v counts", i+1, limit)
		}
		delete(all, order[i])
	}
}

func TestLimitsWithoutEndAreNone(t *testing.T) {
	t.Parallel()
	for _, limit := range []float64{math.NaN(), math.Inf(1)} {
		l := newLimits(set{{"a", ""}: limit}.image(t, "request_percentage"))
		if _, got, limited := l.find(requestTime, "a", "x"); limited {
			t.Errorf("%v limits to %v", limit, got)
		}
	}
	// The largest that Kafka accepts is a limit like any other.
	l := newLimits(set{{"a", ""}: math.MaxInt64}.image(t, "producer_byte_rate"))
	if _, _, limited := l.find(produceBytes, "a", "x"); !limited {
		t.Error("a limit of 2^63 is lost")
	}
}

func TestAddressesAreNotClients(t *testing.T) {
	t.Parallel()
	delta := metadata.NewDelta(metadata.EmptyImage())
	if err := delta.Replay(&metadata.ClientQuotaRecord{Entity: []metadata.QuotaEntityPart{{Type: metadata.QuotaIP}}, Key: "producer_byte_rate", Value: 1}); err != nil {
		t.Fatal(err)
	}
	if l := newLimits(delta.Apply(1, 1)); !l[produceBytes].isEmpty() {
		t.Error(fmt.Sprint("a limit of addresses counts for clients: ", l[produceBytes].set))
	}
}
