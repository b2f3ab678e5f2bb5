// Package server is kafka-server-start and kafka-server-stop, and what moldau start shares with
// them: reading properties, and the run files by which a later kafka-server-stop finds the
// broker. cmd/moldau passes in the function that runs a broker, so that the tools do not import
// it. Nothing here starts a goroutine.
package server
