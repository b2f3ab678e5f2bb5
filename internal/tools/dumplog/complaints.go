package dumplog

import (
	"cmp"
	"slices"

	"github.com/moldau/moldau/internal/tools/cli"
)

// maxPairs bounds what is remembered of one file; the rest is counted.
const maxPairs = 1 << 20

// complaints is what the tool says on standard error when it has read all files.
type complaints struct {
	indexMismatch, timeMismatch, timeOrder, notFound, nonConsecutive pairs
}

// pairs are numbers found wrong together, by file.
type pairs struct{ files []filePairs }

type filePairs struct {
	path  string
	pairs [][2]int64
	more  int
}

func (p *pairs) add(path string, a, b int64) {
	if n := len(p.files); n == 0 || p.files[n-1].path != path { // files are read one after the other
		p.files = append(p.files, filePairs{path: path})
	}
	f := &p.files[len(p.files)-1]
	if len(f.pairs) == maxPairs {
		f.more++
		return
	}
	f.pairs = append(f.pairs, [2]int64{a, b})
}

// sort orders each file's pairs by their first number, ascending or not, of which the last one added
// counts.
func (p *pairs) sort(ascending bool) {
	for i := range p.files {
		f := &p.files[i]
		slices.Reverse(f.pairs)
		slices.SortStableFunc(f.pairs, func(a, b [2]int64) int {
			if ascending {
				return cmp.Compare(a[0], b[0])
			}
			return cmp.Compare(b[0], a[0])
		})
		f.pairs = slices.CompactFunc(f.pairs, func(a, b [2]int64) bool { return a[0] == b[0] })
	}
}

func (p *pairs) print(s cli.Streams, heading, first, second string) {
	for _, f := range p.files {
		s.Errorln(heading + absolute(f.path))
		for _, pair := range f.pairs {
			s.Errorf("%s%d%s%d\n", first, pair[0], second, pair[1])
		}
		if f.more > 0 {
			s.Errorf("  and %d more\n", f.more)
		}
	}
}

func (c *complaints) print(s cli.Streams) {
	c.indexMismatch.sort(false)
	c.nonConsecutive.sort(true)
	c.indexMismatch.print(s, "Mismatches in :", "  Index offset: ", ", log offset: ")
	c.timeMismatch.print(s, "Found timestamp mismatch in :", "  Index timestamp: ", ", log timestamp: ")
	c.timeOrder.print(s, "Found out of order timestamp in :", "  Index timestamp: ", ", Previously indexed timestamp: ")
	c.notFound.print(s, "The following indexed offsets are not found in :", "Indexed offset: ", ", found log offset: ")
	c.nonConsecutive.print(s, "Non-consecutive offsets in ", "  ", " is followed by ")
}
