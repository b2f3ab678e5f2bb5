// Package lint holds the project's own rules as tests: which package may import which, what
// cores may not call, how long files and functions may be, how things may not be named. It
// has no other code; `go test ./internal/lint` runs it.
package lint
