package server

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/moldau/moldau/internal/handler"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/wire"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// process decodes, dispatches and answers one request; false ends the connection.
func (c *connection) process(u *unfinishedRequest) bool {
	in := &u.in
	header, api, body, err := wire.ParseHeader(in.buffer, c.clientID)
	if err == nil && (api.Listeners&c.kind == 0 || api.Listeners&wire.PeersOnly != 0 && !c.servesPeer(api.Key)) {
		err = &wire.UnknownAPIError{Key: header.APIKey, Version: header.APIVersion}
	}
	if err != nil {
		in.release()
		return c.refuse(err)
	}
	if c.isGuest && c.context.Peer == nil && api.Key != wire.KeyPeerHello {
		in.release()
		c.server.refuseAddress(c)
		return false
	}
	c.stopwatch.Reset()
	u.conn, u.api, u.version, u.correlationID, u.sizeBytes = &c.context, api, header.APIVersion, header.CorrelationID, len(in.buffer)+4
	u.stages.received = in.received
	if !api.Serves(header.APIVersion) {
		if api.Key != wire.KeyAPIVersions {
			in.release()
			return c.refuse(&wire.UnknownAPIError{Key: header.APIKey, Version: header.APIVersion, Name: api.Name})
		}
		// A client that is newer than the broker learns what the broker speaks (KIP-511).
		u.version = 0
		u.stages.handled = time.Now()
		return c.answer(u, handler.Respond(unsupportedAPIVersions(api)))
	}
	request, err := c.decode(u, body)
	if err != nil {
		in.release()
		return c.refuse(err)
	}
	if c.clientID = header.ClientID; header.ClientID != nil {
		c.context.ClientID = *header.ClientID
	} else {
		c.context.ClientID = ""
	}
	h := c.server.options.Handlers.Lookup(api.Key)
	if h == nil {
		in.release()
		return c.refuse(&wire.UnknownAPIError{Key: header.APIKey, Version: header.APIVersion})
	}
	u.request = handler.Request{Conn: &c.context, Header: header, Body: request, SizeBytes: u.sizeBytes, ReceivedAt: in.received, Stopwatch: &c.stopwatch}
	reply, ok := c.handle(h, &u.request)
	u.stages.handled = time.Now()
	if !ok {
		// The request's bytes may be in use somewhere after a panic: the collector gets them.
		in.keep = true
		in.release()
		return false
	}
	if api.Key == wire.KeyPeerHello && c.context.Peer != nil {
		c.server.mu.Lock()
		c.server.uncount(c)
		c.server.mu.Unlock()
	}
	c.account(u, &reply)
	return c.answer(u, reply)
}

// servesPeer says whether what only peers may send is served: on listeners for them, after a hello.
func (c *connection) servesPeer(key int16) bool {
	return c.context.Privileged && (c.context.Peer != nil || key == wire.KeyPeerHello)
}

// decode charges the budget with what the decoded request takes and decodes it. Bodies without
// byte fields are copies, so their buffers go back at once: a long poll must not hold one.
func (c *connection) decode(u *unfinishedRequest, body []byte) (kmsg.Request, error) {
	cost, err := wire.DecodedBytes(u.api, u.version, body)
	if err != nil {
		return nil, err
	}
	if cost > c.server.memory.limit {
		return nil, fmt.Errorf("%w: %s would take %d bytes decoded, above queued.max.request.bytes", wire.ErrMalformed, u.api.Name, cost)
	}
	favoured := cost <= favouredBytes || c.context.Peer != nil
	if err := c.server.memory.acquire(c.handlerCtx, cost, favoured, c.server.limits.PartialRequest); err != nil {
		return nil, err
	}
	u.in.charged += cost
	request, err := wire.DecodeBody(u.api, u.version, body)
	if err != nil {
		return nil, err
	}
	switch u.api.Key {
	case wire.KeyProduce, wire.KeyPushTelemetry:
	case wire.KeyJoinGroup, wire.KeySyncGroup:
		u.in.keep = true // the group may hold on to metadata and assignments
	case wire.KeyPeerRaft, wire.KeyPeerForward:
		u.in.keep = true // the quorum and the controller go on when the request is answered
	default:
		c.server.memory.release(u.in.charged - cost)
		u.in.charged = cost
		u.in.giveBuffer()
	}
	return request, nil
}

// refuse logs why the connection cannot go on.
func (c *connection) refuse(err error) bool {
	switch {
	case errors.Is(err, wire.ErrMalformed):
		c.closeBroken("malformed request", err.Error())
	case errors.Is(err, errNoMemory):
		c.closeBroken("memory", "no memory for a request became free in time (queued.max.request.bytes)")
	case c.ctx.Err() != nil:
	default:
		c.closeBroken("unknown API", err.Error())
	}
	return false
}

// handle calls h; a panic costs this connection only.
func (c *connection) handle(h handler.Handler, request *handler.Request) (reply handler.Reply, ok bool) {
	defer func() {
		if r := recover(); r != nil {
			c.reportPanic(request.Header.APIKey, r)
			ok = false
		}
	}()
	if request.Header.APIKey != wire.KeyProduce { // whose ordered phase never waits for long
		c.watchPeer()
		defer c.unwatchPeer()
	}
	return h.Handle(c.handlerCtx, request), true
}

func (c *connection) reportPanic(apiKey int16, r any) {
	c.server.metrics.panics.Inc()
	c.server.logger.Error("BUG: a request handler panicked; its connection is closed", "apiKey", apiKey, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
}

// unsupportedAPIVersions is the answer to an ApiVersions request of an unknown version.
func unsupportedAPIVersions(api *wire.API) *kmsg.ApiVersionsResponse {
	response := kmsg.NewPtrApiVersionsResponse()
	response.ErrorCode = int16(kafka.ErrUnsupportedVersion)
	own := kmsg.NewApiVersionsResponseApiKey()
	own.ApiKey, own.MinVersion, own.MaxVersion = api.Key, api.MinAdvertised, api.MaxAdvertised
	response.ApiKeys = append(response.ApiKeys, own)
	return response
}
