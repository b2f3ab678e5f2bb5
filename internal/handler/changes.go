package handler

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/quota"
)

// Versions from which a client understands that a change of topics was refused for its quota
// (KIP-599). Older ones have their changes made, and are held back afterwards.
const (
	createTopicsStrictFrom     = 6
	deleteTopicsStrictFrom     = 5
	createPartitionsStrictFrom = 3
)

// chargeChanges has what r changes charged to its client's quota.
func chargeChanges(q quota.Quota, r *Request, strictFrom int16) {
	r.Changes = q.Changes(r.Conn, r.Version() >= strictFrom, time.Now)
}

// respondChanged answers and holds the client back as its quota of changes wants it.
func respondChanged(r *Request, response kmsg.Response) Reply {
	reply := Respond(response)
	reply.Throttle = r.Changes.Throttle()
	return reply
}
