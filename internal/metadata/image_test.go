package metadata

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/moldau/moldau/internal/kafka"
)

func id(n int) kafka.UUID { return kafka.UUID{0: byte(n >> 16), 1: byte(n >> 8), 2: byte(n), 15: 0xff} }

func partition(topic, p int) *PartitionRecord {
	return &PartitionRecord{PartitionID: int32(p), TopicID: id(topic), Replicas: []int32{1}, ISR: []int32{1},
		Leader: 1, Directories: []kafka.UUID{{0: 9}}}
}

func apply(t testing.TB, base *Image, records ...Record) (*Image, *Delta) {
	t.Helper()
	d := NewDelta(base)
	for _, r := range records {
		if err := d.Replay(r); err != nil {
			t.Fatal(err)
		}
	}
	return d.Apply(base.Offset+int64(len(records)), 1), d
}

// dump is an image as text: two images are equal when their dumps are.
func dump(t testing.TB, image *Image) string {
	t.Helper()
	var out strings.Builder
	if err := image.WriteTo(func(r Record) error {
		_, err := fmt.Fprintf(&out, "%s\n", JSON(r, recordSpecs[r.Type()].maxVersion))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// history makes random records that are valid one after the other.
type history struct {
	random *rand.Rand
	image  *Image
	topics int
}

func (h *history) topic() *Topic {
	all := slices.Collect(h.image.Topics())
	if len(all) == 0 {
		return nil
	}
	return all[h.random.IntN(len(all))]
}

func (h *history) records() []Record {
	n := h.random.IntN(5)
	value := fmt.Sprint(h.random.IntN(100))
	switch h.random.IntN(13) {
	case 0, 1, 2:
		h.topics++
		records := []Record{&TopicRecord{Name: fmt.Sprint("t", h.topics), TopicID: id(h.topics)}}
		for p := range n {
			records = append(records, partition(h.topics, p))
		}
		return records
	case 3:
		if t := h.topic(); t != nil {
			records := []Record{&RemoveTopicRecord{TopicID: t.ID}}
			if h.random.IntN(2) == 0 {
				h.topics++
				records = append(records, &TopicRecord{Name: t.Name, TopicID: id(h.topics)}, partition(h.topics, 0))
			}
			return records
		}
	case 4, 5:
		if t := h.topic(); t != nil && len(t.Partitions) > 0 {
			change := NewPartitionChangeRecord(t.ID, int32(h.random.IntN(len(t.Partitions))))
			change.Leader = int32(n)
			change.ISR = []int32{int32(n)}
			change.EligibleLeaderReplicas = make([]int32, h.random.IntN(2))
			return []Record{change}
		}
	case 6:
		return []Record{&RegisterBrokerRecord{BrokerID: int32(n), BrokerEpoch: int64(h.topics), Fenced: true,
			Endpoints: []Endpoint{{Name: "PLAINTEXT", Host: "h", Port: 9092}}, LogDirs: []kafka.UUID{id(2), id(1)}}}
	case 7:
		for b := range h.image.Brokers() {
			return []Record{&BrokerRegistrationChangeRecord{BrokerID: b.ID, BrokerEpoch: b.Epoch, Fenced: FencingUnfence,
				InControlledShutdown: int8(n % 2), CordonedLogDirs: []kafka.UUID{}}}
		}
	case 8:
		if t := h.topic(); t != nil {
			return []Record{&ConfigRecord{ResourceType: kafka.ConfigResourceTopic, ResourceName: t.Name, Name: fmt.Sprint("c", n), Value: &value}}
		}
	case 9:
		r := &ConfigRecord{ResourceType: kafka.ConfigResourceBroker, Name: fmt.Sprint("c", n), Value: &value}
		if n == 0 {
			r.Value = nil
		}
		return []Record{r}
	case 10:
		return []Record{&FeatureLevelRecord{Name: fmt.Sprint("f", n), FeatureLevel: int16(h.random.IntN(2))}, &ClearELRRecord{},
			&ProducerIDsRecord{NextProducerID: int64(h.topics) * 1000}, &RegisterControllerRecord{ControllerID: int32(n)}}
	case 12:
		user := fmt.Sprint("u", h.random.IntN(2))
		entity := []QuotaEntityPart{{Type: QuotaUser, Name: &user}, {Type: QuotaClientID}}[h.random.IntN(2):]
		return []Record{&ClientQuotaRecord{Entity: entity, Key: fmt.Sprint("k", n), Value: float64(n), Remove: h.random.IntN(3) == 0}}
	case 11:
		for b := range h.image.Brokers() {
			return []Record{&UnregisterBrokerRecord{BrokerID: b.ID, BrokerEpoch: b.Epoch}}
		}
	}
	return []Record{&NoOpRecord{}}
}

func TestImagesAreTheSumOfTheirRecords(t *testing.T) {
	t.Parallel()
	for range 20 {
		seed := rand.Uint64()
		h := &history{random: rand.New(rand.NewPCG(seed, 0)), image: EmptyImage()}
		type past struct {
			image *Image
			dump  string
		}
		var pasts []past
		whole := NewDelta(EmptyImage())
		for range 150 {
			records := h.records()
			h.image, _ = apply(t, h.image, records...)
			for _, r := range records {
				if err := whole.Replay(r); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
			}
			if h.random.IntN(10) == 0 {
				pasts = append(pasts, past{h.image, dump(t, h.image)})
			}
		}
		want := dump(t, h.image)
		if got := dump(t, whole.Apply(h.image.Offset, 1)); got != want {
			t.Fatalf("seed %d: one delta gives\n%s\nmany give\n%s", seed, got, want)
		}
		var snapshot []Record
		if err := h.image.WriteTo(func(r Record) error {
			again, err := Decode(Encode(r))
			snapshot = append(snapshot, again)
			return err
		}); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if rebuilt, _ := apply(t, EmptyImage(), snapshot...); dump(t, rebuilt) != want {
			t.Fatalf("seed %d: the snapshot gives\n%s\nwant\n%s", seed, dump(t, rebuilt), want)
		}
		for i, p := range pasts {
			if dump(t, p.image) != p.dump {
				t.Fatalf("seed %d: image %d has changed since", seed, i)
			}
		}
	}
}

func TestWriteToStopsAtAnError(t *testing.T) {
	t.Parallel()
	image, _ := apply(t, EmptyImage(), &TopicRecord{Name: "a", TopicID: id(1)}, &TopicRecord{Name: "b", TopicID: id(2)})
	full, calls := errors.New("disk full"), 0
	err := image.WriteTo(func(Record) error { calls++; return full })
	if !errors.Is(err, full) || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
}

// One image is the base of the controller's and of the loader's deltas at the same time.
func TestImageIsForkedByManyGoroutines(t *testing.T) {
	t.Parallel()
	var records []Record
	for i := range 200 {
		records = append(records, &TopicRecord{Name: fmt.Sprint("t", i), TopicID: id(i + 1)}, partition(i+1, 0))
	}
	base, _ := apply(t, EmptyImage(), records...)
	want := dump(t, base)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			image := base
			for i := range 100 {
				n := 1000*(g+1) + i
				image, _ = apply(t, image, &TopicRecord{Name: fmt.Sprint("t", n), TopicID: id(n)}, &RemoveTopicRecord{TopicID: id(i + 1)})
				if image.TopicCount() != 200 || base.TopicByName("t0") == nil {
					t.Errorf("%d topics", image.TopicCount())
				}
			}
		})
	}
	wg.Wait()
	if dump(t, base) != want {
		t.Error("the base image has changed")
	}
}

// Kafka faults: copying the whole image per creation made many topics quadratic.
func TestTopicCreationCostsTheSameOnALargeImage(t *testing.T) { // not parallel: it counts allocated bytes
	image := EmptyImage()
	create := func(from, to int) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for i := from; i < to; i++ {
			image, _ = apply(t, image, &TopicRecord{Name: fmt.Sprintf("t%06d", i*7919%10000), TopicID: id(i + 1)}, partition(i+1, 0))
		}
		runtime.ReadMemStats(&after)
		return (after.TotalAlloc - before.TotalAlloc) / uint64(to-from)
	}
	small := create(0, 1000)
	create(1000, 9000)
	large := create(9000, 10000)
	t.Logf("bytes per creation: %d at first, %d at 10,000 topics", small, large)
	if large > 3*small {
		t.Errorf("a creation allocates %d bytes at 10,000 topics, %d at first", large, small)
	}
}

func TestLookups(t *testing.T) {
	t.Parallel()
	rack := "r1"
	image, _ := apply(t, EmptyImage(),
		&TopicRecord{Name: "b", TopicID: id(1)}, partition(1, 2), partition(1, 0), partition(1, 1),
		&TopicRecord{Name: "a", TopicID: id(2)}, partition(2, 5),
		&RegisterBrokerRecord{BrokerID: 1, Rack: &rack, Endpoints: []Endpoint{{Name: "X", Port: 1}}, Fenced: false})
	b := image.TopicByName("b")
	if b != image.TopicByID(id(1)) || b.Partition(1).ID != 1 || b.Partition(3) != nil || b.Partition(-1) != nil {
		t.Errorf("topic b is %+v", b)
	}
	if image.Partition("a", 5) == nil || image.Partition("a", 0) != nil || image.Partition("c", 0) != nil {
		t.Error("a partition is found by position and not by id")
	}
	var names []string
	for topic := range image.TopicsFrom("aa") {
		names = append(names, topic.Name)
	}
	if !slices.Equal(names, []string{"b"}) {
		t.Errorf("topics from aa are %v", names)
	}
	if dir, ok := b.Partition(0).Directory(1); !ok || dir != (kafka.UUID{0: 9}) {
		t.Errorf("directory is %v, %v", dir, ok)
	}
	if _, ok := b.Partition(0).Directory(2); ok {
		t.Error("a broker without replica has a directory")
	}
	broker := image.Broker(1)
	if _, ok := broker.Endpoint("Y"); ok || !broker.Active() || image.BrokerCount() != 1 || image.Broker(2) != nil || image.Controller(1) != nil {
		t.Errorf("broker is %+v", broker)
	}
}
