package peer

import "time"

// backoff is how long to wait after so many failures in a row, counted from 0: 1 ms, 2 ms, 4 ms …
func backoff(failures int, most time.Duration) time.Duration {
	return min(time.Millisecond<<min(failures, 30), most)
}
