package partition

import "sync/atomic"

// Standing is when a follower said last that it has what it had, of a partition that its fetch session leaves out because nothing has
// happened to it: each fetch of the session says so again.
type Standing struct {
	session *atomic.Int64 // when the session fetched last
	ended   atomic.Int64  // when it was said last, or stands
}

const stands = -1

// NewStanding returns a Standing that has ended before anything was said. session is when the session fetched last, in milliseconds.
func NewStanding(session *atomic.Int64) *Standing { return &Standing{session: session} }

// Begin has every fetch of the session say again what its last one did.
func (s *Standing) Begin() { s.ended.Store(stands) }

// End says that the fetches after the session's last one say something of their own.
func (s *Standing) End() { s.ended.CompareAndSwap(stands, s.session.Load()) }

// LastMs is when it was said last.
func (s *Standing) LastMs() int64 {
	last := s.session.Load() // first: if it still stands afterwards, this was said while it did
	if ended := s.ended.Load(); ended != stands {
		return ended
	}
	return last
}
