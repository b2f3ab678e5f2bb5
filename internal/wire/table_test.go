package wire

import (
	"testing"
)

// kafka43 is what Apache Kafka 4.3.1 answers to ApiVersions for the keys served here.
var kafka43 = map[int16][2]int16{
	0: {0, 13}, 1: {4, 18}, 2: {1, 11}, 3: {0, 13}, 8: {2, 10}, 9: {1, 10}, 10: {0, 6}, 11: {0, 9}, 12: {0, 4}, 13: {0, 5}, 14: {0, 5},
	15: {0, 6}, 16: {0, 5}, 18: {0, 4}, 19: {2, 7}, 20: {1, 6}, 21: {0, 2}, 22: {0, 5}, 23: {2, 4}, 24: {0, 5}, 25: {0, 4}, 26: {0, 5}, 27: {1, 2}, 28: {0, 5}, 29: {1, 3}, 30: {1, 3}, 31: {1, 3},
	32: {1, 4}, 33: {0, 2}, 34: {1, 2}, 35: {1, 5}, 37: {0, 3}, 38: {1, 3}, 39: {1, 2}, 40: {1, 2}, 41: {1, 3}, 42: {0, 2}, 43: {0, 2}, 44: {0, 1}, 45: {0, 1}, 46: {0, 0}, 47: {0, 0},
	48: {0, 1}, 49: {0, 1}, 50: {0, 0}, 51: {0, 0}, 55: {0, 2}, 57: {0, 2}, 60: {0, 2}, 61: {0, 0}, 64: {0, 0}, 65: {0, 0}, 66: {0, 2}, 71: {0, 0}, 72: {0, 0}, 74: {0, 1}, 75: {0, 0}, 80: {0, 1}, 81: {0, 0},
}

func TestTableIsKafkas(t *testing.T) {
	t.Parallel()
	if len(APIs()) != len(kafka43) {
		t.Errorf("%d rows, want %d", len(APIs()), len(kafka43))
	}
	last := int16(-1)
	for _, api := range APIs() {
		if api.Key <= last {
			t.Errorf("%s is out of order", api.Name)
		}
		last = api.Key
		if got := [2]int16{api.MinAdvertised, api.MaxAdvertised}; got != kafka43[api.Key] {
			t.Errorf("%s is advertised as %v, Kafka as %v", api.Name, got, kafka43[api.Key])
		}
		request := api.NewRequest(0)
		if request.MaxVersion() < api.MaxAdvertised {
			t.Errorf("%s: kmsg ends at %d, before %d", api.Name, request.MaxVersion(), api.MaxAdvertised)
		}
		for version := api.MinServed; version <= api.MaxAdvertised; version++ {
			request.SetVersion(version)
			if got := api.IsFlexible(version); got != request.IsFlexible() {
				t.Errorf("%s version %d flexible: %v", api.Name, version, got)
			}
		}
		if found, ok := LookupAPI(api.Key); !ok || found.Name != api.Name {
			t.Errorf("LookupAPI(%d) does not find %s", api.Key, api.Name)
		}
	}
	for _, key := range []int16{-1, 4, 17, 73, 76, 32767} {
		if _, ok := LookupAPI(key); ok {
			t.Errorf("LookupAPI(%d) finds a row", key)
		}
	}
	if produce, _ := LookupAPI(KeyProduce); produce.Serves(2) || !produce.Serves(3) || produce.Serves(14) {
		t.Error("Produce must be served from 3 to 13")
	}
}
