package record

import (
	"errors"
	"os"
	"reflect"
	"testing"
)

// readControl returns the control records of a file that Apache Kafka 4.3.1 wrote.
func readControl(t *testing.T, name string) (kinds []ControlKind, values [][]byte) {
	t.Helper()
	data, err := os.ReadFile("testdata/kafka/" + name)
	if err != nil {
		t.Fatal(err)
	}
	for len(data) > 0 {
		var b Batch
		if b, data, err = Next(data); err != nil {
			t.Fatal(err)
		}
		if err := b.CheckCRC(); err != nil {
			t.Fatal(err)
		}
		if !b.IsControl() {
			continue
		}
		for r, err := range b.Records(1 << 20) {
			if err != nil {
				t.Fatal(err)
			}
			kind, err := ParseControlKey(r.Key)
			if err != nil {
				t.Fatal(err)
			}
			if string(r.Key) != string(ControlKey(kind)) {
				t.Errorf("key of kind %d is % x", kind, r.Key)
			}
			kinds, values = append(kinds, kind), append(values, append([]byte{}, r.Value...))
		}
	}
	return kinds, values
}

func TestGoldenControlRecords(t *testing.T) {
	t.Parallel()
	kinds, values := readControl(t, "metadata-head.log")
	if !reflect.DeepEqual(kinds, []ControlKind{ControlLeaderChange, ControlKRaftVersion, ControlKRaftVoters}) {
		t.Fatalf("kinds %v", kinds)
	}
	leader, err := ParseLeaderChange(values[0])
	if err != nil || leader.LeaderID != 1 || len(leader.Voters) != 1 || len(leader.GrantingVoters) != 1 || leader.Voters[0].ID != 1 {
		t.Errorf("leader change %+v, %v", leader, err)
	}
	version, err := ParseKRaftVersion(values[1])
	if err != nil || version.KRaftVersion != 1 {
		t.Errorf("kraft version %+v, %v", version, err)
	}
	voters, err := ParseKRaftVoters(values[2])
	if err != nil || len(voters.Voters) != 1 {
		t.Fatalf("voters %+v, %v", voters, err)
	}
	if v := voters.Voters[0]; v.ID != 1 || v.DirectoryID.IsZero() || v.MinVersion != 0 || v.MaxVersion != 1 || len(v.Endpoints) != 1 || v.Endpoints[0] != (KRaftEndpoint{"CONTROLLER", "localhost", 21093}) {
		t.Errorf("voter %+v", v)
	}
	for i, got := range [][]byte{leader.Encode(), version.Encode(), voters.Encode()} {
		if string(got) != string(values[i]) {
			t.Errorf("kind %d encodes to % x, Kafka wrote % x", kinds[i], got, values[i])
		}
	}
}

func TestGoldenSnapshotRecords(t *testing.T) {
	t.Parallel()
	kinds, values := readControl(t, "bootstrap.checkpoint")
	if kinds[0] != ControlSnapshotHeader || kinds[len(kinds)-1] != ControlSnapshotFooter {
		t.Fatalf("kinds %v", kinds)
	}
	header, err := ParseSnapshotHeader(values[0])
	if err != nil || string(header.Encode()) != string(values[0]) {
		t.Errorf("header %+v, %v", header, err)
	}
	footer, err := ParseSnapshotFooter(values[len(values)-1])
	if err != nil || string(footer.Encode()) != string(values[len(values)-1]) {
		t.Errorf("footer: %v", err)
	}
}

func TestControlRoundTripAndCuts(t *testing.T) {
	t.Parallel()
	voter := LeaderChangeVoter{ID: 3, DirectoryID: [16]byte{1, 2, 3}}
	for _, c := range []struct {
		value []byte
		want  any
		parse func([]byte) (any, error)
	}{
		{EndTxnMarker{9}.Encode(), EndTxnMarker{9}, func(b []byte) (any, error) { return ParseEndTxnMarker(b) }},
		{LeaderChange{1, 3, []LeaderChangeVoter{voter, voter}, []LeaderChangeVoter{voter}}.Encode(), LeaderChange{1, 3, []LeaderChangeVoter{voter, voter}, []LeaderChangeVoter{voter}},
			func(b []byte) (any, error) { return ParseLeaderChange(b) }},
		{SnapshotHeader{5}.Encode(), SnapshotHeader{5}, func(b []byte) (any, error) { return ParseSnapshotHeader(b) }},
		{SnapshotFooter{}.Encode(), SnapshotFooter{}, func(b []byte) (any, error) { return ParseSnapshotFooter(b) }},
		{KRaftVersion{1}.Encode(), KRaftVersion{1}, func(b []byte) (any, error) { return ParseKRaftVersion(b) }},
		{KRaftVoters{[]KRaftVoter{{1, [16]byte{9}, []KRaftEndpoint{{"L", "h", 65535}}, 0, 1}}}.Encode(), KRaftVoters{[]KRaftVoter{{1, [16]byte{9}, []KRaftEndpoint{{"L", "h", 65535}}, 0, 1}}},
			func(b []byte) (any, error) { return ParseKRaftVoters(b) }},
	} {
		if got, err := c.parse(c.value); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%T: got %+v, %v", c.want, got, err)
		}
		for cut := range c.value {
			if _, err := c.parse(c.value[:cut]); !errors.Is(err, ErrControl) {
				t.Errorf("%T cut at %d of %d: %v", c.want, cut, len(c.value), err)
			}
		}
	}
	if _, err := ParseControlKey([]byte{0, 0, 0}); !errors.Is(err, ErrControl) {
		t.Errorf("short key: %v", err)
	}
	if kind, err := ParseControlKey([]byte{0, 7, 0, 99}); err != nil || kind != 99 {
		t.Errorf("newer key: %d, %v", kind, err)
	}
}

func TestBuildControl(t *testing.T) {
	t.Parallel()
	o := NoProducer(CodecZstd)
	o.ProducerID, o.ProducerEpoch, o.Transactional = 5, 1, true
	b, err := BuildControl(o, 99, ControlCommit, EndTxnMarker{4}.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if !b.IsControl() || !b.IsTransactional() || b.Codec() != CodecNone || b.Count() != 1 || b.CheckCRC() != nil {
		t.Fatalf("attributes %#x", b.Attributes())
	}
}
