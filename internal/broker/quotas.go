package broker

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// resolveTime bounds how long the name of a host may take that a quota is set for.
const resolveTime = 2 * time.Second

// resolveHost returns the addresses of a host.
func resolveHost(ctx context.Context, host string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, resolveTime)
	defer cancel()
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}
