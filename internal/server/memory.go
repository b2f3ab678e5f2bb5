package server

import (
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
)

// MemoryBytes is how much memory the process should take for granted: GOMEMLIMIT where it is set,
// else the container's limit or the machine's memory, whichever is less, else 1 GiB.
func MemoryBytes() int64 {
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 {
		return limit
	}
	return systemMemory("/")
}

// LimitMemory gives Go's runtime a soft limit, unless GOMEMLIMIT has: without one it collects garbage
// by the size of the heap alone, and a container ends a process that grows past what it allows. It
// returns the limit in use.
func LimitMemory() int64 {
	return limitMemory("/", debug.SetMemoryLimit)
}

// collectorBallastBytes is memory that is never touched, and so never takes a page, but counts for
// the collector as live: it then runs once per that many bytes of garbage at least. A broker's heap
// is a few MiB, mostly pools; without this, every 4 MiB of garbage had all stacks scanned, shrunk and
// grown again.
const collectorBallastBytes = 24 << 20

var collectorBallast []byte

// SpareCollector takes the ballast, less where memory is short. The owner of the process calls it once.
func SpareCollector() {
	collectorBallast = make([]byte, min(collectorBallastBytes, MemoryBytes()/32))
}

func limitMemory(root string, setLimit func(int64) int64) int64 {
	if limit := setLimit(-1); limit < math.MaxInt64 {
		return limit
	}
	// The rest is for what the runtime does not count: stacks of system threads, the binary's pages.
	limit := systemMemory(root) / 10 * 9
	setLimit(limit)
	return limit
}

// systemMemory reads what the system tells below root.
func systemMemory(root string) int64 {
	least := int64(math.MaxInt64)
	for line := range strings.Lines(read(root, "proc/meminfo")) {
		if kib, found := strings.CutPrefix(line, "MemTotal:"); found {
			if n, ok := parseBytes(strings.TrimSuffix(strings.TrimSpace(kib), "kB")); ok {
				least = min(least, n<<10)
			}
		}
	}
	// The limit of the control group, in version 2 and 1; inside a container the group is the root.
	files := []string{"sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"}
	for line := range strings.Lines(read(root, "proc/self/cgroup")) {
		if group, found := strings.CutPrefix(line, "0::"); found {
			files = append(files, filepath.Join("sys/fs/cgroup", strings.TrimSpace(group), "memory.max"))
		}
	}
	for _, file := range files {
		if n, ok := parseBytes(read(root, file)); ok { // it may say max
			least = min(least, n)
		}
	}
	if least == math.MaxInt64 {
		return 1 << 30
	}
	return least
}

func read(root, file string) string {
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		return "" // another operating system, or another version of control groups
	}
	return string(text)
}

func parseBytes(text string) (n int64, ok bool) {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	return n, err == nil && n > 0
}
