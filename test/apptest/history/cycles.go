package history

import (
	"cmp"
	"slices"
	"time"
)

// cycles looks for operations that depend on themselves through others. An operation that read what another sent
// depends on it (wr), and so does, among writes alone, one that wrote behind it in a partition (ww).
func (x *index) cycles(r *Result) {
	wr, ww := x.dependencies()
	for _, cycle := range components(x.operations, wr) {
		r.add(CircularFlow, "%v", cycle)
	}
	for _, cycle := range components(x.operations, ww) {
		r.add(WriteCycle, "%d operations, among them %v", len(cycle), cycle[:2])
	}
	x.future(r, wr)
}

// graph leads from an operation to those that it depends on.
type graph map[*Operation][]*Operation

func (x *index) dependencies() (wr, ww graph) {
	wr, ww = graph{}, graph{}
	for _, o := range x.operations {
		o.reads(func(m *Message, _ time.Duration) {
			if w := x.writer[place{m.Key, m.Value}]; w != nil && w != o {
				wr.add(o, w)
			}
		})
	}
	for _, key := range sortedKeys(x.offsets) {
		var before *Operation
		for _, offset := range x.offsets[key] {
			w := x.writer[place{key, x.values[slot{key, offset}][0]}]
			if before != nil && w != nil && w != before {
				ww.add(w, before)
			}
			before = cmp.Or(w, before)
		}
	}
	return wr, ww
}

func (g graph) add(from, to *Operation) {
	if edges := g[from]; len(edges) == 0 || edges[len(edges)-1] != to {
		g[from] = append(edges, to)
	}
}

// future looks for operations that ended before one began on which they depend, through any number of others.
func (x *index) future(r *Result, wr graph) {
	byBegin := slices.Clone(x.operations)
	slices.SortStableFunc(byBegin, func(a, b *Operation) int { return cmp.Compare(b.Began, a.Began) })
	dependants := graph{}
	for _, o := range x.operations {
		for _, w := range wr[o] {
			dependants.add(w, o)
		}
	}
	// Whoever is reached first is reached from the latest beginning.
	visited := map[*Operation]bool{}
	for _, source := range byBegin {
		queue := []*Operation{source}
		for len(queue) > 0 {
			o := queue[0]
			queue = queue[1:]
			if visited[o] {
				continue
			}
			visited[o] = true
			if o.Ended < source.Began {
				r.add(ReadFromFuture, "%v depends on %v", o, source)
			}
			queue = append(queue, dependants[o]...)
		}
	}
}

// components returns the strongly connected components of more than one operation (Tarjan, without recursion).
func components(operations []*Operation, g graph) (found [][]*Operation) {
	type frame struct {
		o    *Operation
		next int
	}
	number, low, onStack := map[*Operation]int{}, map[*Operation]int{}, map[*Operation]bool{}
	var stack []*Operation
	visit := func(o *Operation) frame {
		number[o] = len(number) + 1
		low[o] = number[o]
		stack, onStack[o] = append(stack, o), true
		return frame{o: o}
	}
	for _, root := range operations {
		if number[root] > 0 {
			continue
		}
		path := []frame{visit(root)}
		for len(path) > 0 {
			top := &path[len(path)-1]
			if top.next < len(g[top.o]) {
				to := g[top.o][top.next]
				top.next++
				if number[to] == 0 {
					path = append(path, visit(to))
				} else if onStack[to] {
					low[top.o] = min(low[top.o], number[to])
				}
				continue
			}
			o := top.o
			path = path[:len(path)-1]
			if len(path) > 0 {
				parent := path[len(path)-1].o
				low[parent] = min(low[parent], low[o])
			}
			if low[o] != number[o] {
				continue
			}
			first := slices.Index(stack, o)
			component := slices.Clone(stack[first:])
			stack = stack[:first]
			for _, member := range component {
				onStack[member] = false
			}
			if len(component) > 1 {
				found = append(found, component)
			}
		}
	}
	return found
}
