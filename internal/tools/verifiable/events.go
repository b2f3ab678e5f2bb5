package verifiable

import (
	"bytes"
	"encoding/json"
	"strconv"
	"sync"
	"time"

	"github.com/moldau/moldau/internal/tools/cli"
)

// interruptedExit is the exit code after Ctrl-C.
const interruptedExit = 130

// events prints JSON objects, one per line. Callbacks of the client library print too.
type events struct {
	mu      sync.Mutex
	streams cli.Streams
}

// event begins every object.
type event struct {
	Timestamp int64  `json:"timestamp"`
	Name      string `json:"name"`
}

func named(name string) event {
	return event{Timestamp: time.Now().UnixMilli(), Name: name}
}

func (e *events) print(object any) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	text := "Bad data can't be written as json: "
	if err := encoder.Encode(object); err != nil {
		text += err.Error() + "\n"
	} else {
		text = b.String()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.streams.Printf("%s", text)
}

// text is a key or a value: null where absent.
func text(b []byte) *string {
	if b == nil {
		return nil
	}
	s := string(bytes.ToValidUTF8(b, []byte("\uFFFD")))
	return &s
}

// javaDouble is a number as Java's JSON writes it: 0.0, 6.25.
type javaDouble float64

// MarshalJSON implements json.Marshaler.
func (d javaDouble) MarshalJSON() ([]byte, error) {
	text := cli.JavaFloat(float64(d), 64)
	if _, err := strconv.ParseFloat(text, 64); err != nil || text == "NaN" || text == "Infinity" || text == "-Infinity" {
		return json.Marshal(text)
	}
	return []byte(text), nil
}
