package script

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Names that all cases share and only read.
const (
	fixed      = "fixed-"
	fixedTopic = "fixed-topic" // two partitions; five records and two of a producer in the first
	fixedGroup = "fixed-group" // without members, with an offset
	shortTopic = "fixed-topi"  // what is left of a name with a length that lies
	fixedTxn   = "fixed-txn"   // a transactional id whose transaction has been committed
	txnTopic   = "in-txn"
)

// answerTime is how long an answer may take; unansweredTime, where Apache Kafka never gives one.
const (
	answerTime     = 20 * time.Second
	unansweredTime = 3 * time.Second
)

// unanswered are the cases in which a request gets lost in Apache Kafka.
var unanswered = regexp.MustCompile(`Records=null|Records null|Records length -2|Protocols twice|Protocols.Metadata=noise`)

// Session is one case at one broker.
type Session struct {
	broker   *Broker
	own      string
	worker   int
	patience time.Duration
	base     int64 // the end of a pool's topic when the case began
	version  int16
	subject  *subject
	conn     net.Conn
	// recording is whether answers go into the transcript.
	recording  bool
	transcript []string

	member     string
	generation int32
	pid        int64
	epoch      int16
	labels     map[string]string
}

// sampleSession is what requests are built with to see what they look like.
func sampleSession(u *subject) *Session {
	return &Session{broker: &Broker{ids: map[string][16]byte{}}, own: "own-", subject: u, member: "member", generation: 1, pid: 4000, epoch: 3, labels: map[string]string{}}
}

// topic is the topic that the case may change.
func (s *Session) topic() string {
	if s.subject.pool != "" {
		return fmt.Sprintf("%s-%d-topic", s.subject.pool, s.worker)
	}
	return s.own + "topic"
}
func (s *Session) group() string { return s.own + "group" }
func (s *Session) txn() string   { return s.own + "txn" }

// id is the id of a topic that was there before the cases.
func (s *Session) id(topic string) [16]byte {
	if id, ok := s.broker.ids[topic]; ok {
		return id
	}
	return [16]byte{0x77}
}

// run returns what the broker says in the course of a case.
func (s *Session) run(c *Case) string {
	defer func() {
		if s.conn != nil {
			_ = s.conn.Close()
		}
	}()
	for _, prepare := range c.subject.prepare {
		if err := prepare(s); err != nil {
			return "not prepared: " + err.Error()
		}
	}
	s.recording = true
	if unanswered.MatchString(c.Name) {
		s.patience = unansweredTime
	}
	err := c.ask(s)
	s.patience = answerTime
	if err == nil {
		for _, look := range c.subject.after {
			if err = look(s); err != nil {
				break
			}
		}
	}
	if err != nil {
		s.say("%v", err)
	}
	return strings.Join(s.transcript, " | ")
}

func (s *Session) say(format string, args ...any) {
	if s.recording {
		s.transcript = append(s.transcript, fmt.Sprintf(format, args...))
	}
}

// quietly runs a step without its answers in the transcript.
func (s *Session) quietly(step func(s *Session) error) error {
	before := s.recording
	s.recording = false
	defer func() { s.recording = before }()
	return step(s)
}

// converse sends r in version and writes down the answer. A connection that the broker closes is an
// answer, too.
func (s *Session) converse(r kmsg.Request, version int16) error {
	r.SetVersion(version)
	frame := sized(append(header(r.Key(), version, r.IsFlexible()), r.AppendTo(nil)...))
	return s.exchange(r, version, frame)
}

// exchange sends a frame and writes down the answer, which is that to r.
func (s *Session) exchange(r kmsg.Request, version int16, frame []byte) error {
	_, err := s.answer(r, version, frame)
	var closed closedError
	if errors.As(err, &closed) {
		s.say("%v", err)
		_ = s.conn.Close()
		s.conn = nil
		return nil
	}
	return err
}

// fetch sends r and returns the answer without writing it down.
func (s *Session) fetch(r kmsg.Request, version int16) (kmsg.Response, error) {
	var response kmsg.Response
	err := s.quietly(func(s *Session) error {
		r.SetVersion(version)
		var err error
		response, err = s.answer(r, version, sized(append(header(r.Key(), version, r.IsFlexible()), r.AppendTo(nil)...)))
		return err
	})
	return response, err
}

func (s *Session) answer(r kmsg.Request, version int16, frame []byte) (kmsg.Response, error) {
	deadline := time.Now().Add(s.patience)
	for {
		raw, err := s.roundTrip(r, frame, deadline)
		if err != nil {
			return nil, err
		}
		if raw == nil {
			s.say("no answer, the connection lives")
			return nil, nil
		}
		r.SetVersion(version)
		response := r.ResponseKind()
		if r.Key() == 18 && len(raw) >= 2 && binary.BigEndian.Uint16(raw) == 35 {
			response.SetVersion(0) // what a client can read that asked for an unknown version
		}
		if r.IsFlexible() && r.Key() != 18 {
			if len(raw) == 0 || raw[0] != 0 {
				return nil, fmt.Errorf("an answer whose header has tags: %x", raw)
			}
			raw = raw[1:]
		}
		if err := response.ReadFrom(raw); err != nil {
			return nil, fmt.Errorf("undecodable answer: %w: %x", err, raw[:min(len(raw), 64)])
		}
		if again := s.subject.repeat; again != nil && s.subject.key == r.Key() && again(s, response) && time.Now().Before(deadline) {
			continue
		}
		if learn := s.subject.learn; learn != nil && s.subject.key == r.Key() {
			learn(s, response)
		}
		if s.recording {
			s.say("%s", s.dump(response, raw))
		}
		return response, nil
	}
}

// roundTrip returns the answer behind its correlation id, or nil where there is none to be.
func (s *Session) roundTrip(r kmsg.Request, frame []byte, deadline time.Time) ([]byte, error) {
	if s.conn == nil {
		conn, err := net.Dial("tcp", s.broker.addr)
		if err != nil {
			return nil, err
		}
		s.conn = conn
	}
	silent := false
	if p, ok := r.(*kmsg.ProduceRequest); ok && p.Acks == 0 {
		// There is no answer; one to another request shows that the connection lives.
		silent = true
		frame = append(frame, sized(header(18, 0, false))...)
	}
	_ = s.conn.SetDeadline(deadline)
	if _, err := s.conn.Write(frame); err != nil {
		return nil, closedError{}
	}
	var head [8]byte
	if _, err := io.ReadFull(s.conn, head[:]); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, closedError{true}
		}
		return nil, closedError{}
	}
	size := binary.BigEndian.Uint32(head[:])
	if size < 4 || size > 100<<20 {
		return nil, fmt.Errorf("an answer of %d bytes", size)
	}
	if id := binary.BigEndian.Uint32(head[4:]); id != correlation {
		return nil, fmt.Errorf("an answer with correlation id %x", id)
	}
	body := make([]byte, size-4)
	if _, err := io.ReadFull(s.conn, body); err != nil {
		return nil, closedError{}
	}
	if silent {
		return nil, nil
	}
	return body, nil
}

type closedError struct{ late bool }

func (e closedError) Error() string {
	if e.late {
		return "no answer"
	}
	return "closes the connection"
}
