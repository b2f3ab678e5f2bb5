// Package tools is the table of Moldau's command-line tools: which names lead to which tool.
// cmd/moldau looks commands up here by sub-command (moldau topics) or by the name under which
// the program was started (kafka-topics, kafka-topics.sh). Each tool lives in a package of its
// own below this one, on the shared layers cli (options, usage, exit codes) and client
// (connections and error texts). The tools are clients of the protocol: they import nothing of
// the broker. Goroutines belong to the tool that starts them and end before its Run returns.
package tools
