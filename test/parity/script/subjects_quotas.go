package script

import (
	"math"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// fixedClient is a client id with a quota that nobody reaches.
const fixedClient = "fixed-client"

// quotaSubjects change quotas of users, of which there are none, and look at those of client ids, which nobody changes.
func quotaSubjects() []subject {
	return []subject{
		{
			key: 48, sorted: true, build: func(*Session) kmsg.Request {
				r := kmsg.NewPtrDescribeClientQuotasRequest()
				r.Components = []kmsg.DescribeClientQuotasRequestComponent{{EntityType: "client-id", Match: ptr(fixedClient)}}
				return r
			},
			forms: []form{
				matched("any client id", true, "client-id", 2, nil), matched("default client id", true, "client-id", 1, nil), matched("unknown client id", true, "client-id", 0, ptr("fixed-nobody")),
				matched("exactly nothing", false, "client-id", 0, nil), matched("default of a name", false, "client-id", 1, ptr("x")), matched("any of a name", false, "client-id", 2, ptr("x")),
				matched("address", true, "ip", 0, ptr("127.0.0.9")), matched("odd address", false, "ip", 0, ptr("no address")), matched("match type 3", false, "client-id", 3, nil),
			},
		},
		{
			key: 49, sorted: true, build: func(s *Session) kmsg.Request {
				r := kmsg.NewPtrAlterClientQuotasRequest()
				r.ValidateOnly = true
				r.Entries = []kmsg.AlterClientQuotasRequestEntry{{
					Entity: []kmsg.AlterClientQuotasRequestEntryEntity{{Type: "user", Name: ptr(s.own + "user")}},
					Ops:    []kmsg.AlterClientQuotasRequestEntryOp{{Key: "producer_byte_rate", Value: 1_000_000}},
				}}
				return r
			},
			values: map[string][]value{"Value": constants(-1.0, 0.0, 0.5, 1e300, math.NaN(), math.Inf(1))},
			forms: []form{
				quota("consumer_byte_rate", true, "user", 1024), quota("request_percentage", true, "user", 12.5), quota("controller_mutation_rate", true, "user", 0.5), quota("producer_byte_rate", false, "user", 0.5),
				quota("connection_creation_rate", false, "user", 5), quota("producer_byte_rate", false, "ip", 5), quota("connection_creation_rate", false, "ip", 5), quota("no.such.quota", false, "user", 5),
				shape("user and client id", true, 0, func(s *Session, r *kmsg.AlterClientQuotasRequest) {
					r.Entries[0].Entity = append(r.Entries[0].Entity, kmsg.AlterClientQuotasRequestEntryEntity{Type: "client-id", Name: ptr(s.own + "client")})
				}),
				shape("user and address", false, 0, func(_ *Session, r *kmsg.AlterClientQuotasRequest) {
					r.Entries[0].Entity = append(r.Entries[0].Entity, kmsg.AlterClientQuotasRequestEntryEntity{Type: "ip", Name: ptr("127.0.0.9")})
				}),
				shape("remove", true, 0, func(_ *Session, r *kmsg.AlterClientQuotasRequest) { r.Entries[0].Ops[0].Remove = true }),
				shape("set and remove", false, 0, func(_ *Session, r *kmsg.AlterClientQuotasRequest) {
					r.Entries[0].Ops = append(r.Entries[0].Ops, kmsg.AlterClientQuotasRequestEntryOp{Key: "producer_byte_rate", Remove: true})
				}),
				shape("one good and one bad", false, 0, func(s *Session, r *kmsg.AlterClientQuotasRequest) {
					r.Entries = append(r.Entries, kmsg.AlterClientQuotasRequestEntry{Entity: []kmsg.AlterClientQuotasRequestEntryEntity{{Type: "planet", Name: ptr("earth")}}, Ops: r.Entries[0].Ops})
				}),
			},
		},
	}
}

func matched(name string, good bool, kind string, match kmsg.QuotasMatchType, entity *string) form {
	return shape(name, good, 0, func(_ *Session, r *kmsg.DescribeClientQuotasRequest) {
		r.Components[0] = kmsg.DescribeClientQuotasRequestComponent{EntityType: kind, MatchType: match, Match: entity}
	})
}

func quota(key string, good bool, kind string, limit float64) form {
	return shape(kind+" "+key, good, 0, func(_ *Session, r *kmsg.AlterClientQuotasRequest) {
		r.Entries[0].Entity[0].Type = kind
		if kind == "ip" {
			r.Entries[0].Entity[0].Name = ptr("127.0.0.9")
		}
		r.Entries[0].Ops[0] = kmsg.AlterClientQuotasRequestEntryOp{Key: key, Value: limit}
	})
}

// limitFixedClient gives the fixed client id its quota and waits until the broker shows it.
func limitFixedClient(s *Session) error {
	r := kmsg.NewPtrAlterClientQuotasRequest()
	r.Entries = []kmsg.AlterClientQuotasRequestEntry{{
		Entity: []kmsg.AlterClientQuotasRequestEntryEntity{{Type: "client-id", Name: ptr(fixedClient)}},
		Ops:    []kmsg.AlterClientQuotasRequestEntryOp{{Key: "producer_byte_rate", Value: 123_456}, {Key: "request_percentage", Value: 99.5}},
	}}
	if _, err := s.fetch(r, 1); err != nil {
		return err
	}
	return until(func() (bool, error) {
		r := kmsg.NewPtrDescribeClientQuotasRequest()
		r.Components = []kmsg.DescribeClientQuotasRequestComponent{{EntityType: "client-id", Match: ptr(fixedClient)}}
		response, err := s.fetch(r, 1)
		return err == nil && len(response.(*kmsg.DescribeClientQuotasResponse).Entries) > 0, err
	})
}

// tokenSubjects are delegation tokens, which neither broker has without a secret.
func tokenSubjects() []subject {
	return []subject{
		{key: 38, build: func(*Session) kmsg.Request {
			r := kmsg.NewPtrCreateDelegationTokenRequest()
			r.MaxLifetimeMillis = 1000
			r.Renewers = []kmsg.CreateDelegationTokenRequestRenewer{{PrincipalType: "User", PrincipalName: "one"}}
			return r
		}},
		{key: 39, build: func(*Session) kmsg.Request {
			r := kmsg.NewPtrRenewDelegationTokenRequest()
			r.HMAC, r.RenewTimeMillis = []byte("hmac"), 1000
			return r
		}},
		{key: 40, build: func(*Session) kmsg.Request {
			r := kmsg.NewPtrExpireDelegationTokenRequest()
			r.HMAC, r.ExpiryPeriodMillis = []byte("hmac"), 1000
			return r
		}},
		{key: 41, build: func(*Session) kmsg.Request {
			r := kmsg.NewPtrDescribeDelegationTokenRequest()
			r.Owners = []kmsg.DescribeDelegationTokenRequestOwner{{PrincipalType: "User", PrincipalName: "one"}}
			return r
		}},
	}
}
