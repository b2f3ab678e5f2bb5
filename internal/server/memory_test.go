package server

import (
	"math"
	"os"
	"path/filepath"
	"testing"
)

func TestLimitMemory(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "sys/fs/cgroup"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "sys/fs/cgroup/memory.max"), []byte("1000000000\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ before, want int64 }{{math.MaxInt64, 900_000_000}, {500_000_000, 500_000_000}, {2_000_000_000, 2_000_000_000}} {
		current := c.before
		got := limitMemory(root, func(limit int64) int64 {
			before := current
			if limit >= 0 {
				current = limit
			}
			return before
		})
		if got != c.want || current != c.want {
			t.Errorf("with a limit of %d before: returned %d and set %d, want %d", c.before, got, current, c.want)
		}
	}
}

func TestSystemMemory(t *testing.T) {
	t.Parallel()
	const machine = "MemTotal:        4194304 kB\nMemFree:          100 kB\n"
	for name, c := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"nothing known":       {nil, 1 << 30},
		"machine":             {map[string]string{"proc/meminfo": machine}, 4 << 30},
		"container":           {map[string]string{"proc/meminfo": machine, "sys/fs/cgroup/memory.max": "536870912\n"}, 512 << 20},
		"container, no limit": {map[string]string{"proc/meminfo": machine, "sys/fs/cgroup/memory.max": "max\n"}, 4 << 30},
		"version 1":           {map[string]string{"proc/meminfo": machine, "sys/fs/cgroup/memory/memory.limit_in_bytes": "1073741824\n"}, 1 << 30},
		"version 1, no limit": {map[string]string{"proc/meminfo": machine, "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 4 << 30},
		"service": {map[string]string{"proc/meminfo": machine, "proc/self/cgroup": "1:name=x:/a\n0::/system.slice/moldau.service\n",
			"sys/fs/cgroup/system.slice/moldau.service/memory.max": "268435456\n"}, 256 << 20},
	} {
		root := t.TempDir()
		for file, text := range c.files {
			path := filepath.Join(root, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got := systemMemory(root); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
