package metadata

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
)

type loggedRecord struct {
	offset int64
	data   []byte
}

// kafkaLog returns the data records of a metadata log that Apache Kafka 4.3.1 wrote.
func kafkaLog(t testing.TB) []loggedRecord {
	t.Helper()
	log, err := os.ReadFile("testdata/kafka-4.3.1-metadata.log")
	if err != nil {
		t.Fatal(err)
	}
	var logged []loggedRecord
	for len(log) > 0 {
		var b record.Batch
		if b, log, err = record.Next(log); err != nil {
			t.Fatal(err)
		}
		if b.IsControl() {
			continue
		}
		for r, err := range b.Records(1 << 20) {
			if err != nil {
				t.Fatal(err)
			}
			logged = append(logged, loggedRecord{b.BaseOffset() + int64(r.OffsetDelta), bytes.Clone(r.Value)})
		}
	}
	return logged
}

func TestKafkasLogDecodesAndEncodesToTheSameBytes(t *testing.T) {
	t.Parallel()
	f, err := os.Open("testdata/kafka-4.3.1-metadata.json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	n := 0
	for _, logged := range kafkaLog(t) {
		n++
		r, version, err := DecodeVersioned(logged.data)
		if err != nil {
			t.Fatalf("offset %d: %v", logged.offset, err)
		}
		if got := Encode(r); !bytes.Equal(got, logged.data) {
			t.Errorf("offset %d: %s encodes to\n%x, Kafka wrote\n%x", logged.offset, r.Type(), got, logged.data)
		}
		if !lines.Scan() {
			t.Fatal("fewer lines than records")
		}
		offset, want, _ := strings.Cut(lines.Text(), " ")
		if offset != strconv.FormatInt(logged.offset, 10) {
			t.Fatalf("line of offset %s meets record at offset %d", offset, logged.offset)
		}
		if got := JSON(r, version); !sameJSON(t, got, []byte(want)) {
			t.Errorf("offset %d is\n%s, Kafka's tool says\n%s", logged.offset, got, want)
		}
	}
	if lines.Scan() || n == 0 {
		t.Errorf("%d records and more lines", n)
	}
}

func sameJSON(t *testing.T, a, b []byte) bool {
	var x, y any
	if err := errors.Join(json.Unmarshal(a, &x), json.Unmarshal(b, &y)); err != nil {
		t.Fatal(err)
	}
	return reflect.DeepEqual(x, y)
}

func TestKafkasLogMakesAnImage(t *testing.T) {
	t.Parallel()
	d := NewDelta(EmptyImage())
	for _, logged := range kafkaLog(t) {
		r, err := Decode(logged.data)
		if err != nil {
			t.Fatal(err)
		}
		if r.Type() == TypeBeginTransaction || r.Type() == TypeEndTransaction {
			if err := d.Replay(r); err == nil {
				t.Errorf("%s was replayed", r.Type())
			}
			continue
		}
		if err := d.Replay(r); err != nil {
			t.Fatal(err)
		}
	}
	image := d.Apply(140, 2)
	var topics []string
	for topic := range image.Topics() {
		topics = append(topics, fmt.Sprint(topic.Name, len(topic.Partitions), topic.Partitions[0].Leader))
	}
	if got := strings.Join(topics, " "); got != "orders3 -1 plain2 -1" {
		t.Errorf("topics are %q", got)
	}
	if b := image.Broker(1); b == nil || b.Endpoints[0].Port != 24092 {
		t.Errorf("broker 1 is %+v", b)
	}
	want := map[string]string{"cleanup.policy": "compact,delete"}
	if got := image.Config(kafka.ConfigResource{Type: kafka.ConfigResourceTopic, Name: "orders"}); !reflect.DeepEqual(got, want) {
		t.Errorf("configs of orders are %v, want %v", got, want)
	}
	if image.FeatureLevel(MetadataVersionFeature) != LatestMetadataVersion || image.NextProducerID() != 1000 {
		t.Errorf("metadata.version %d, next producer id %d", image.FeatureLevel(MetadataVersionFeature), image.NextProducerID())
	}
}

// schemaRecorder writes down the fields it meets in the form of testdata/kafka-4.3-schemas.txt.
type schemaRecorder struct {
	out    strings.Builder
	indent string
	tag    string
}

func (s *schemaRecorder) field(name, kind string, nullable bool) {
	if nullable {
		kind += "?"
	}
	fmt.Fprintf(&s.out, "%s%s %s%s\n", s.indent, name, kind, s.tag)
}
func (s *schemaRecorder) boolean(name string, _ *bool)           { s.field(name, "bool", false) }
func (s *schemaRecorder) int8(name string, _ *int8)              { s.field(name, "int8", false) }
func (s *schemaRecorder) int16(name string, _ *int16)            { s.field(name, "int16", false) }
func (s *schemaRecorder) uint16(name string, _ *uint16)          { s.field(name, "uint16", false) }
func (s *schemaRecorder) int32(name string, _ *int32)            { s.field(name, "int32", false) }
func (s *schemaRecorder) int64(name string, _ *int64)            { s.field(name, "int64", false) }
func (s *schemaRecorder) float64(name string, _ *float64)        { s.field(name, "float64", false) }
func (s *schemaRecorder) uuid(name string, _ *kafka.UUID)        { s.field(name, "uuid", false) }
func (s *schemaRecorder) str(name string, _ *string)             { s.field(name, "string", false) }
func (s *schemaRecorder) nullableStr(name string, _ **string)    { s.field(name, "string", true) }
func (s *schemaRecorder) int32s(name string, _ *[]int32, n bool) { s.field(name, "[]int32", n) }
func (s *schemaRecorder) uuids(name string, _ *[]kafka.UUID, n bool) {
	s.field(name, "[]uuid", n)
}
func (s *schemaRecorder) beginArray(name string, _ int) int {
	s.field(name, "[]struct", false)
	s.indent += "  "
	return 1
}
func (s *schemaRecorder) beginElement() bool { return true }
func (s *schemaRecorder) endElement()        {}
func (s *schemaRecorder) endArray()          { s.indent = s.indent[2:] }
func (s *schemaRecorder) tags(fields ...taggedField) {
	for _, f := range fields {
		if f.tag >= balancingTag { // Moldau's own
			continue
		}
		s.tag = fmt.Sprintf("#%d", f.tag)
		f.visit(s)
		s.tag = ""
	}
}

func TestSchemasAreKafkas(t *testing.T) {
	t.Parallel()
	want, err := os.ReadFile("testdata/kafka-4.3-schemas.txt")
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for key := range RecordType(100) {
		spec, ok := recordSpecs[key]
		if !ok {
			continue
		}
		for version := range spec.maxVersion + 1 {
			r := spec.create()
			if r.Type() != key {
				t.Errorf("the record made for %s is a %s", key, r.Type())
			}
			s := &schemaRecorder{indent: "  "}
			r.visit(s, version)
			name := strings.NewReplacer("IDs", "Ids", "ELR", "Elr").Replace(reflect.TypeOf(r).Elem().Name())
			fmt.Fprintf(&got, "%d %d %s\n%s", key, version, name, s.out.String())
		}
	}
	if got.String() != string(want) {
		gotLines, wantLines := strings.Split(got.String(), "\n"), strings.Split(string(want), "\n")
		for i := range min(len(gotLines), len(wantLines)) {
			if gotLines[i] != wantLines[i] {
				t.Fatalf("line %d is %q, Kafka's schema says %q", i+1, gotLines[i], wantLines[i])
			}
		}
		t.Fatalf("%d lines, Kafka's schemas give %d", len(gotLines), len(wantLines))
	}
}

// kafkaQuotaRecords are records that Apache Kafka 4.3.1 wrote, with what its dump tool says of them.
var kafkaQuotaRecords = [][2]string{
	{"010e00030a636c69656e742d69640461707000057573657206616c696365001370726f64756365725f627974655f7261746541300000000000000000",
		`{"type":"CLIENT_QUOTA_RECORD","version":0,"data":{"entity":[{"entityType":"client-id","entityName":"app"},{"entityType":"user","entityName":"alice"}],"key":"producer_byte_rate","value":1048576.0,"remove":false}}`},
	{"010e00020a636c69656e742d6964000013636f6e73756d65725f627974655f726174654202a05f200000000000",
		`{"type":"CLIENT_QUOTA_RECORD","version":0,"data":{"entity":[{"entityType":"client-id","entityName":null}],"key":"consumer_byte_rate","value":1.0E10,"remove":false}}`},
	{"010e00020369700931302e302e302e310019636f6e6e656374696f6e5f6372656174696f6e5f7261746500000000000000000100",
		`{"type":"CLIENT_QUOTA_RECORD","version":0,"data":{"entity":[{"entityType":"ip","entityName":"10.0.0.1"}],"key":"connection_creation_rate","value":0.0,"remove":true}}`},
	{"010e00030a636c69656e742d696400000575736572000019636f6e74726f6c6c65725f6d75746174696f6e5f726174653f50624dd2f1a9fc0000",
		`{"type":"CLIENT_QUOTA_RECORD","version":0,"data":{"entity":[{"entityType":"client-id","entityName":null},{"entityType":"user","entityName":null}],"key":"controller_mutation_rate","value":0.001,"remove":false}}`},
}

func TestKafkasQuotaRecords(t *testing.T) {
	t.Parallel()
	for _, golden := range kafkaQuotaRecords {
		data, err := hex.DecodeString(golden[0])
		if err != nil {
			t.Fatal(err)
		}
		r, version, err := DecodeVersioned(data)
		if err != nil {
			t.Fatal(err)
		}
		if got := Encode(r); !bytes.Equal(got, data) {
			t.Errorf("encodes to\n%x, Kafka wrote\n%x", got, data)
		}
		if got := string(JSON(r, version)); got != golden[1] {
			t.Errorf("is\n%s, Kafka's tool says\n%s", got, golden[1])
		}
	}
}
