package peer

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestSlowNameServer: a name that takes longer to look up than a connection may take is no reason not to connect.
func TestSlowNameServer(t *testing.T) { // alone: the resolver is everybody's
	before := net.DefaultResolver
	defer func() { net.DefaultResolver = before }()
	var asked atomic.Bool
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		if !asked.Swap(true) {
			<-time.After(connectTimeout + connectTimeout/10)
		}
		return nil, errors.New("the name server is asked")
	}}
	if _, err := Network(nil).open(t.Context(), Address{Host: "node.test.", Port: 9093}); err == nil || !strings.Contains(err.Error(), "is asked") {
		t.Errorf("the lookup was not waited for: %v", err)
	}
}
