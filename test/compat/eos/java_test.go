//go:build unix

package eos

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// java runs a class of the folder java, which test/compat/eos/run has compiled.
func java(t *testing.T, class string) func() *exec.Cmd {
	classPath := os.Getenv("EOS_CLASSPATH")
	if classPath == "" {
		t.Skip("needs Java: test/compat/run eos")
	}
	return func() *exec.Cmd {
		return exec.Command("java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
			"-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS", "-cp", classPath, class)
	}
}

// TestJava runs instances of Transform.java: KafkaProducer and KafkaConsumer.
func TestJava(t *testing.T) {
	run(t, program{name: "java", instances: 3, outputOf: upperCase, command: java(t, "Transform")})
}

// TestStreams runs instances of WordCount.java.
func TestStreams(t *testing.T) {
	run(t, program{name: "streams", instances: 2, perRecord: wordsInValue, outputOf: wordCounts, command: java(t, "WordCount")})
}

// wordCounts are the counts by word, one after the other.
func wordCounts(in []*kgo.Record) map[string][]string {
	out := map[string][]string{}
	for _, r := range in {
		for _, word := range strings.Fields(string(r.Value)) {
			out[word] = append(out[word], strconv.Itoa(len(out[word])+1))
		}
	}
	return out
}
