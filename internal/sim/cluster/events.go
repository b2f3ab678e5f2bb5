package cluster

// event is something that happens at a time; events of the same time happen in the order of their planning.
type event struct {
	atMs     int64
	sequence uint64
	run      func()
}

func (e *event) before(other *event) bool {
	return e.atMs < other.atMs || e.atMs == other.atMs && e.sequence < other.sequence
}

// eventQueue is a binary heap. It is not container/heap's, which allocates for every event.
type eventQueue []event

func (q *eventQueue) push(e event) {
	h := append(*q, e)
	i := len(h) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !h[i].before(&h[parent]) {
			break
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
	*q = h
}

func (q *eventQueue) pop() event {
	h := *q
	first, last := h[0], len(h)-1
	h[0] = h[last]
	h[last] = event{}
	h = h[:last]
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < last; child++ {
			if h[child].before(&h[least]) {
				least = child
			}
		}
		if least == i {
			break
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
	*q = h
	return first
}
