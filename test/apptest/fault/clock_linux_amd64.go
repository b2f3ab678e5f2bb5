package fault

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Clock is the wall clock that a process sees, and its children do not. Static binaries ask the kernel's page of
// code (vDSO) in their own address space for the time; before the first instruction of a process runs, a copy of
// that page is patched so that an offset is added to CLOCK_REALTIME. The monotonic clock stays as it is, as on a
// machine whose time is stepped.
type Clock struct {
	mu     sync.Mutex
	pid    int
	place  int64 // of the offset, in the process's memory
	offset int64 // in seconds
}

// clockGettime replaces the vDSO's function of the same name: it makes the system call, and adds the 8 bytes that
// follow the code to the seconds if the clock asked for is CLOCK_REALTIME (0).
var clockGettime = []byte{
	0xb8, 0xe4, 0, 0, 0, // mov eax, 228 (clock_gettime)
	0x0f, 0x05, // syscall
	0x85, 0xff, // test edi, edi
	0x75, 0x0a, // jnz to ret
	0x48, 0x8b, 0x0d, 6, 0, 0, 0, // mov rcx, [rip+6]: what lies behind the padding
	0x48, 0x01, 0x0e, // add [rsi], rcx
	0xc3, // ret
	0x90, 0x90,
}

// Step sets by how much the process's wall clock differs from the machine's, in whole seconds.
func (c *Clock) Step(offset time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset = int64(offset / time.Second)
	if c.pid == 0 {
		return nil
	}
	return c.write(binary.LittleEndian.AppendUint64(nil, uint64(c.offset)), c.place)
}

func (c *Clock) write(data []byte, place int64) error {
	memory, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", c.pid), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer memory.Close()
	_, err = memory.WriteAt(data, place)
	return err
}

// start starts a command stopped, patches it and lets it go. The caller's thread is its tracer until then.
func (c *Clock) start(cmd *exec.Cmd) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Ptrace = true
	if err := cmd.Start(); err != nil {
		return err
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(cmd.Process.Pid, &status, 0, nil); err != nil || !status.Stopped() {
		return fmt.Errorf("the process does not stop at its first instruction: %v, %w", status, err)
	}
	c.pid = cmd.Process.Pid
	return errors.Join(c.patch(), unix.PtraceDetach(c.pid))
}

func (c *Clock) patch() error {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", c.pid))
	if err != nil {
		return err
	}
	var from, to int64
	for line := range strings.Lines(string(maps)) {
		if strings.HasSuffix(strings.TrimSpace(line), "[vdso]") {
			if _, err := fmt.Sscanf(line, "%x-%x", &from, &to); err != nil {
				return err
			}
		}
	}
	if to <= from {
		return errors.New("the process has no vDSO")
	}
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", c.pid))
	if err != nil {
		return err
	}
	defer memory.Close()
	image := make([]byte, to-from)
	if _, err := memory.ReadAt(image, from); err != nil {
		return fmt.Errorf("read the vDSO: %w", err)
	}
	library, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return fmt.Errorf("the vDSO: %w", err)
	}
	symbols, err := library.DynamicSymbols()
	if err != nil {
		return fmt.Errorf("the vDSO: %w", err)
	}
	code := binary.LittleEndian.AppendUint64(bytes.Clone(clockGettime), uint64(c.offset))
	for _, s := range symbols {
		if s.Name == "__vdso_clock_gettime" && s.Size >= uint64(len(code)) {
			c.place = from + int64(s.Value) + int64(len(clockGettime))
			return c.write(code, from+int64(s.Value))
		}
	}
	return errors.New("the vDSO has no clock_gettime that can be replaced")
}
