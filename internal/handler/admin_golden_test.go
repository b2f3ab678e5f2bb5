package handler

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// adminGolden holds Apache Kafka 4.3's answers to adminSteps, normalised. To ask Kafka again, run
// the test with MOLDAU_KAFKA=host:port of a fresh single broker with node.id 1.
const adminGolden = "testdata/admin_kafka_4.3.golden"

func TestAdminAnswersAreKafkas(t *testing.T) {
	if address := os.Getenv("MOLDAU_KAFKA"); address != "" {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		answers := runAdminSteps(func(version int16, req kmsg.Request) kmsg.Response { return askKafka(t, conn, version, req) })
		if err := os.WriteFile(adminGolden, []byte(answers), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(adminGolden)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(string(golden), "\n## ")
	// What Kafka's stock server.properties sets, and what its eligible leader replicas write at the start.
	f := newAdminFixture(t, map[string]string{"num.network.threads": "3", "num.partitions": "1", "log.retention.hours": "168", "log.segment.bytes": "1073741824"})
	one := "1"
	f.publish(&metadata.ConfigRecord{ResourceType: kafka.ConfigResourceBroker, Name: "min.insync.replicas", Value: &one})
	got := strings.Split(runAdminSteps(f.ask), "\n## ")
	if len(got) != len(want) {
		t.Fatalf("%d steps, the golden file has %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%s\nMoldau alone answers\n%s\nKafka alone answers\n%s", strings.SplitN(want[i], "\n", 2)[0], without(got[i], want[i]), without(want[i], got[i]))
		}
	}
}

// without returns the lines of a that b does not have.
func without(a, b string) string {
	other := strings.Split(b, "\n")
	return strings.Join(slices.DeleteFunc(strings.Split(a, "\n"), func(line string) bool { return slices.Contains(other, line) }), "\n")
}

func askKafka(t *testing.T, conn net.Conn, version int16, req kmsg.Request) kmsg.Response {
	t.Helper()
	req.SetVersion(version)
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := conn.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID("golden")).AppendRequest(nil, req, 1)); err != nil {
		t.Fatal(err)
	}
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		t.Fatalf("%T version %d: %v", req, version, err)
	}
	frame := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(conn, frame); err != nil {
		t.Fatal(err)
	}
	frame = frame[4:]
	if req.IsFlexible() && req.Key() != 18 {
		frame = frame[1:]
	}
	response := req.ResponseKind()
	response.SetVersion(version)
	if err := response.ReadFrom(frame); err != nil {
		t.Fatal(err)
	}
	switch req.Key() {
	case 19, 20, 33, 37, 44:
		<-time.After(time.Second) // Kafka answers before its own broker knows
	}
	return response
}

// adminStep is one question; ids holds the ids of topics created before, by name.
type adminStep struct {
	name    string
	version int16
	ask     func(ids map[string][16]byte) kmsg.Request
}

func runAdminSteps(ask func(version int16, req kmsg.Request) kmsg.Response) string {
	ids := map[string][16]byte{"nobody": {1, 2, 3}}
	var out strings.Builder
	for _, step := range adminSteps() {
		response := ask(step.version, step.ask(ids))
		if created, ok := response.(*kmsg.CreateTopicsResponse); ok {
			for _, topic := range created.Topics {
				if topic.TopicID != [16]byte{} {
					ids[topic.Topic] = topic.TopicID
				}
			}
		}
		fmt.Fprintf(&out, "\n## %s, %s version %d\n", step.name, kmsg.NameForKey(response.Key()), step.version)
		dump(&out, reflect.ValueOf(response).Elem(), 0)
	}
	return out.String()
}

// unequal are fields that differ from cluster to cluster, or that are our own words.
var unequal = []string{"Version", "UnknownTags", "ThrottleMillis", "ErrorMessage", "Host", "Port", "ApiKeys", "SupportedFeatures", "FinalizedFeatures", "FinalizedFeaturesEpoch", "Documentation"}

// dump prints a response, one line per struct; elements of arrays are sorted, since Kafka answers
// some in the order of a hash map.
func dump(out *strings.Builder, v reflect.Value, depth int) {
	var children []string
	indent := strings.Repeat("  ", depth)
	out.WriteString(indent)
	for i := range v.NumField() {
		name, field := v.Type().Field(i).Name, v.Field(i)
		// Kafka answers to CreateTopics that retention.ms is static where only log.retention.hours
		// is, and to DescribeConfigs that it is the default. Moldau answers the latter to both.
		differs := name == "Source" && v.Type().Name() == "CreateTopicsResponseTopicConfig" && v.FieldByName("Name").String() == "retention.ms"
		if differs || slices.Contains(unequal, name) {
			continue
		}
		switch {
		case field.Kind() == reflect.Pointer && field.IsNil():
			fmt.Fprintf(out, "%s=null ", name)
		case field.Kind() == reflect.Pointer && field.Elem().Kind() == reflect.Struct:
			var child strings.Builder
			dump(&child, field.Elem(), depth+1)
			children = append(children, child.String())
		case field.Kind() == reflect.Slice && field.Type().Elem().Kind() == reflect.Struct:
			var elements []string
			for j := range field.Len() {
				var child strings.Builder
				dump(&child, field.Index(j), depth+1)
				elements = append(elements, child.String())
			}
			slices.Sort(elements)
			children = append(children, indent+" "+name+":\n"+strings.Join(elements, ""))
		case name == "ErrorCode" || name == "ConfigErrorCode":
			fmt.Fprintf(out, "%s=%s ", name, kafka.ErrorCode(field.Int()))
		case name == "ClusterID":
			fmt.Fprintf(out, "%s=set:%v ", name, !field.IsZero())
		case field.Kind() == reflect.Array:
			fmt.Fprintf(out, "%s=set:%v ", name, !field.IsZero())
		case field.Kind() == reflect.Pointer:
			fmt.Fprintf(out, "%s=%v ", name, field.Elem())
		default:
			fmt.Fprintf(out, "%s=%v ", name, field)
		}
	}
	out.WriteString("\n")
	for _, child := range children {
		out.WriteString(child)
	}
}
