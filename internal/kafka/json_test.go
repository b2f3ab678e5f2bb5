package kafka

import "testing"

func TestJSONString(t *testing.T) {
	t.Parallel()
	// As Apache Kafka's dump-log printed a transactional id of these characters.
	got := string(AppendJSONString([]byte("x:"), "tx<&>\"\u2028\x01\x1fé\\\b\f\n\r\t\x7f\xff"))
	if want := "x:\"tx<&>\\\"\u2028\\u0001\\u001Fé\\\\\\b\\f\\n\\r\\t\x7f\ufffd\""; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
