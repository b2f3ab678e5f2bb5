package handler

import (
	"slices"
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
)

// TestConfigsOfGroupsAndClientMetrics: they are altered, described and listed by name, whether there
// is such a group or not, and forgotten with their last config.
func TestConfigsOfGroupsAndClientMetrics(t *testing.T) {
	t.Parallel()
	f := newAdminFixture(t, nil)
	set := func(resourceType int8, name, key, value string) int16 {
		return f.ask(1, alterRequest(resourceType, name, operation{opSet, key, &value})).(*kmsg.IncrementalAlterConfigsResponse).Resources[0].ErrorCode
	}
	list := func(version int16, types ...int8) []string {
		req := kmsg.NewPtrListConfigResourcesRequest()
		req.ResourceTypes = types
		var names []string
		for _, r := range f.ask(version, req).(*kmsg.ListConfigResourcesResponse).ConfigResources {
			names = append(names, strconv.Itoa(int(r.Type))+":"+r.Name)
		}
		return names
	}
	wantCode(t, "group", set(32, "g", "consumer.session.timeout.ms", "50000"), kafka.ErrNone)
	wantCode(t, "client metrics", set(16, "m", "metrics", "*"), kafka.ErrNone)
	wantCode(t, "group without a name", set(32, "", "consumer.session.timeout.ms", "50000"), kafka.ErrInvalidRequest)
	if got := list(1, 16, 32); !slices.Equal(got, []string{"32:g", "16:m"}) {
		t.Errorf("listed are %v", got)
	}
	if got := list(0); !slices.Equal(got, []string{"16:m"}) {
		t.Errorf("version 0 lists %v", got)
	}
	value := func(resourceType int8, name, key string) (string, kmsg.ConfigSource) {
		resource := f.ask(4, configsRequest(resourceType, name, key)).(*kmsg.DescribeConfigsResponse).Resources[0]
		wantCode(t, "describe "+name, resource.ErrorCode, kafka.ErrNone)
		return *resource.Configs[0].Value, resource.Configs[0].Source
	}
	if v, source := value(32, "g", "consumer.session.timeout.ms"); v != "50000" || source != 8 {
		t.Errorf("the group's session time-out is %s from %d", v, source)
	}
	if v, source := value(16, "m", "metrics"); v != "*" || source != 7 {
		t.Errorf("the subscription's metrics are %s from %d", v, source)
	}
	if v, source := value(32, "nobody", "consumer.session.timeout.ms"); v != "45000" || source != 5 {
		t.Errorf("another group's session time-out is %s from %d", v, source)
	}
	for _, resourceType := range []int8{16, 32} {
		wantCode(t, "without a name", f.ask(4, configsRequest(resourceType, "")).(*kmsg.DescribeConfigsResponse).Resources[0].ErrorCode, kafka.ErrInvalidRequest)
	}
	f.ask(2, replaceRequest(32, "g"))
	f.ask(2, replaceRequest(16, "m"))
	if got := list(1, 16, 32); len(got) != 0 {
		t.Errorf("still listed are %v", got)
	}
}
