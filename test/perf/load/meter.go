package load

import (
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Percentiles of latencies, in milliseconds.
type Percentiles struct{ P50Ms, P99Ms, P999Ms, MaxMs float64 }

// Samples are latencies in microseconds.
type Samples []uint32

func (s *Samples) add(d time.Duration) {
	*s = append(*s, uint32(min(d.Microseconds(), 1<<32-1)))
}

// Percentiles sorts the samples.
func (s Samples) Percentiles() Percentiles {
	if len(s) == 0 {
		return Percentiles{}
	}
	slices.Sort(s)
	at := func(part float64) float64 { return float64(s[min(len(s)-1, int(part*float64(len(s))))]) / 1000 }
	return Percentiles{at(0.5), at(0.99), at(0.999), at(1)}
}

// meter takes the wall time and the CPU times of a piece of work.
type meter struct {
	brokers        []int
	began          time.Time
	brokerCPU, own time.Duration
}

func startMeter(brokers []int) (*meter, error) {
	m := &meter{brokers: brokers}
	var err error
	if m.brokerCPU, err = cpuTimes(brokers); err != nil {
		return nil, err
	}
	if m.own, err = CPUTime(os.Getpid()); err != nil {
		return nil, err
	}
	m.began = time.Now()
	return m, nil
}

func (m *meter) stop(records, valueBytes int) (*Result, error) {
	r := &Result{Records: records, ValueBytes: int64(records) * int64(valueBytes), Seconds: time.Since(m.began).Seconds()}
	broker, err := cpuTimes(m.brokers)
	if err != nil {
		return nil, err
	}
	own, err := CPUTime(os.Getpid())
	if err != nil {
		return nil, err
	}
	r.BrokerCPUSeconds, r.ClientCPUSeconds = (broker - m.brokerCPU).Seconds(), (own - m.own).Seconds()
	return r, nil
}

func cpuTimes(pids []int) (all time.Duration, err error) {
	for _, pid := range pids {
		used, err := CPUTime(pid)
		if err != nil {
			return 0, err
		}
		all += used
	}
	return all, nil
}

// CPUTime is the user and system time that a process has used, by the CPU clock that Linux
// keeps for each: /proc has hundredths of a second only.
func CPUTime(pid int) (time.Duration, error) {
	const cpuClock = 2 // CPUCLOCK_SCHED, for the whole process
	var at unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|cpuClock), &at); err != nil {
		return 0, fmt.Errorf("the CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(at.Nano()), nil
}
