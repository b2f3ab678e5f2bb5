// Package main gains this file, by the overlay that run builds with, in the binary that is
// profiled: no broker that anybody runs has such a door.
package main

import (
	"net/http"
	_ "net/http/pprof"
	"os"
	"runtime"
)

func init() {
	addr := os.Getenv("MOLDAU_PROFILING")
	if addr == "" {
		return
	}
	// Contention costs CPU time to record, so it is off until the CPU profile is taken.
	http.HandleFunc("POST /contention", func(http.ResponseWriter, *http.Request) {
		runtime.SetMutexProfileFraction(5)
		runtime.SetBlockProfileRate(10_000)
	})
	go func() { panic(http.ListenAndServe(addr, nil)) }()
}
