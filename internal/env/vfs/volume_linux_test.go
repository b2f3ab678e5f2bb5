package vfs

import "testing"

func TestKernelVersions(t *testing.T) {
	t.Parallel()
	for release, want := range map[string]bool{
		"5.8.0": true, "5.7.19-generic": false, "4.18.0-553.el8": false, "6.1.0-13-amd64": true, "5.15": true, "10.0-rc1": true, "": false, "x": false, "6": false,
	} {
		if isKernelFrom(release, 5, 8) != want {
			t.Errorf("%q: want %v", release, want)
		}
	}
}
