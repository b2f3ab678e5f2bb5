package script

import (
	"math"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// subjects is the script.
var subjects = slices.Concat(recordSubjects(), topicSubjects(), groupSubjects(), offsetSubjects(), transactionSubjects(), configSubjects(), quotaSubjects(), tokenSubjects(), telemetrySubjects(), adminSubjects())

// waits are time-outs that cannot run out between two brokers of different speed.
var waits = constants(int32(math.MaxInt32), int32(-1), int32(math.MinInt32))

func ptr[T any](v T) *T { return &v }

// shape is a form that changes the good request, typed.
func shape[R kmsg.Request](name string, good bool, from int16, change func(s *Session, r R)) form {
	return form{name: name, good: good, from: from, change: func(s *Session, r kmsg.Request) { change(s, r.(R)) }}
}

// talk is a form that is a conversation.
func talk(name string, good bool, from int16, steps ...func(s *Session) error) form {
	return form{name: name, good: good, from: from, steps: steps}
}

// send is a step that asks a request in the case's version.
func send(build func(s *Session) kmsg.Request) func(s *Session) error {
	return func(s *Session) error { return s.converse(build(s), s.version) }
}

// hush is a step without its answers in the transcript.
func hush(step func(s *Session) error) func(s *Session) error {
	return func(s *Session) error { return s.quietly(step) }
}
