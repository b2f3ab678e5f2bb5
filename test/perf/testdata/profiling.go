// Package main gains this file, by the overlay that run builds with, in the binary that is
// profiled: no broker that anybody runs has such a door.
package main

import (
	"bytes"
	"net/http"
	_ "net/http/pprof"
	"os"
	"runtime"
	"runtime/pprof"
)

func init() {
	addr := os.Getenv("MOLDAU_PROFILING")
	if addr == "" {
		return
	}
	var profile bytes.Buffer
	http.HandleFunc("GET /debug/pprof/start", func(http.ResponseWriter, *http.Request) {
		profile.Reset()
		_ = pprof.StartCPUProfile(&profile)
	})
	http.HandleFunc("GET /debug/pprof/stop", func(w http.ResponseWriter, _ *http.Request) {
		pprof.StopCPUProfile()
		_, _ = w.Write(profile.Bytes())
	})
	// Contention costs CPU time to record, so it is off until the CPU profile is taken.
	http.HandleFunc("GET /debug/pprof/contention", func(http.ResponseWriter, *http.Request) {
		runtime.SetMutexProfileFraction(5)
		runtime.SetBlockProfileRate(10_000)
	})
	go func() { panic(http.ListenAndServe(addr, nil)) }()
}
