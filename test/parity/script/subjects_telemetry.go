package script

import (
	"crypto/md5"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// telemetrySubjects ask brokers that have no subscription for anybody.
func telemetrySubjects() []subject {
	return []subject{
		{
			key: 71, unlike: []string{"SubscriptionID"}, build: func(*Session) kmsg.Request { return kmsg.NewPtrGetTelemetrySubscriptionsRequest() },
			values: map[string][]value{"ClientInstanceID": {{"its own id", func(s *Session) any { return instanceOf(s) }}}},
		},
		{
			key: 72, prepare: []func(*Session) error{subscribe}, build: func(s *Session) kmsg.Request {
				r := kmsg.NewPtrPushTelemetryRequest()
				r.ClientInstanceID, r.SubscriptionID, r.Metrics = instanceOf(s), s.generation, []byte{}
				return r
			},
			values: map[string][]value{"ClientInstanceID": {constant("no id", [16]byte{}), constant("unknown id", unknownID)}},
			forms: []form{
				shape("the last", true, 0, func(_ *Session, r *kmsg.PushTelemetryRequest) { r.Terminating = true }),
				shape("another subscription", false, 0, func(_ *Session, r *kmsg.PushTelemetryRequest) { r.SubscriptionID++ }),
			},
		},
	}
}

// instanceOf is the client instance id of a case.
func instanceOf(s *Session) [16]byte { return md5.Sum([]byte(s.own)) }

// subscribe learns the subscription's id.
func subscribe(s *Session) error {
	r := kmsg.NewPtrGetTelemetrySubscriptionsRequest()
	r.ClientInstanceID = instanceOf(s)
	response, err := s.fetch(r, 0)
	if err == nil {
		s.generation = response.(*kmsg.GetTelemetrySubscriptionsResponse).SubscriptionID
	}
	return err
}
