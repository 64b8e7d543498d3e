// Package sojourn asks the Sojourn router which LLM serves the next turn of an agent's episode, and goes on by itself
// when the router is away: the incumbent, else the caller's small table. README.md begins with a first decision.
package sojourn

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	pb "github.com/sojourn-router/sojourn/clients/go/sojournv1"
)

const (
	maxMessageBytes = 64 * 1024
	maxIDBytes      = 128
)

// Options is what a client may be made with; the zero value is a plaintext client without a fallback table.
type Options struct {
	// Policy decides; "default" unless given.
	Policy string
	// Fallback serves a turn without an incumbent that the router does not answer.
	Fallback FallbackTable
	// DecideDeadline is the longest wait for a decision, 50 ms unless given.
	DecideDeadline time.Duration
	// ReportDeadline is the longest wait for one sending of a report, 5 s unless given.
	ReportDeadline time.Duration
	// QueueSize is the number of reports that may wait, 1024 unless given.
	QueueSize int
	// Credentials make the channel TLS, such as credentials.NewClientTLSFromFile; plaintext unless given.
	Credentials credentials.TransportCredentials
	// Token is asked before each call for the bearer token. It travels in the clear without Credentials.
	Token func() string
	// Traceparent returns the W3C header of the span in a context, or "". Asked when a call or report is made.
	Traceparent func(context.Context) string
}

// Client is a connection to the router, safe to share between goroutines.
type Client struct {
	options  Options
	channel  *grpc.ClientConn
	stub     pb.RouterServiceClient
	delivery *delivery
	counters *counters
}

// New returns a client of target, which is "host:port" or another gRPC target. It connects at its first call.
func New(target string, options Options) (*Client, error) {
	options = withDefaults(options)
	channel, err := grpc.NewClient(target,
		grpc.WithTransportCredentials(options.Credentials),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 5 * time.Second},
			MinConnectTimeout: 2 * time.Second,
		}))
	if err != nil {
		return nil, fmt.Errorf("sojourn: %w", err)
	}
	counted := &counters{fallbacks: map[string]int{}}
	return &Client{options, channel, pb.NewRouterServiceClient(channel), newDelivery(options.QueueSize, counted), counted}, nil
}

// Episode returns an episode; its id is 1 to 128 bytes and never reused.
func (c *Client) Episode(id string, options EpisodeOptions) *Episode {
	if options.Policy == "" {
		options.Policy = c.options.Policy
	}
	return &Episode{client: c, id: id, options: options}
}

// ReportTurn queues the facts of one turn.
func (c *Client) ReportTurn(ctx context.Context, request *pb.ReportTurnRequest) (*Receipt, error) {
	return c.offer(ctx, request, func(ctx context.Context) (Acknowledgement, error) {
		answer, err := c.stub.ReportTurn(ctx, request)
		return Acknowledgement{State: shortName(answer.GetState(), "REPORT_STATE_")}, err
	})
}

// ReportOutcome queues the outcome of an episode that was left open, here or in another process.
func (c *Client) ReportOutcome(ctx context.Context, request *pb.ReportOutcomeRequest) (*Receipt, error) {
	return c.offer(ctx, request, func(ctx context.Context) (Acknowledgement, error) {
		answer, err := c.stub.ReportOutcome(ctx, request)
		return Acknowledgement{shortName(answer.GetState(), "REPORT_STATE_"), int(answer.GetJoinedDecisions())}, err
	})
}

// Flush waits until every report is settled; false if the time ran out first.
func (c *Client) Flush(timeout time.Duration) bool { return c.delivery.flush(timeout) }

// Close flushes for at most timeout, then closes. Reports not acknowledged by then are dropped: an ErrDropped says so.
func (c *Client) Close(timeout time.Duration) error {
	c.Flush(timeout)
	c.delivery.stop()
	err := c.channel.Close()
	if dropped := c.Counters().ReportsDropped; dropped > 0 {
		return fmt.Errorf("%w: %d", ErrDropped, dropped)
	}
	return err
}

// Counters returns what the client has counted so far.
func (c *Client) Counters() Counters { return c.counters.read() }

func (c *Client) decide(ctx context.Context, request *pb.DecideRequest) (*pb.DecideResponse, error) {
	ctx, cancel := context.WithTimeout(c.outgoing(ctx, c.headers(ctx, request)), c.options.DecideDeadline)
	defer cancel()
	return c.stub.Decide(ctx, request)
}

func (c *Client) offer(ctx context.Context, request request, call func(context.Context) (Acknowledgement, error)) (*Receipt, error) {
	if err := checkSize(request); err != nil {
		return nil, err
	}
	headers := c.headers(ctx, request)
	return c.delivery.offer(func(ctx context.Context) (Acknowledgement, error) {
		ctx, cancel := context.WithTimeout(c.outgoing(ctx, headers), c.options.ReportDeadline)
		defer cancel()
		return call(ctx)
	})
}

// request is any of the three that a client makes.
type request interface {
	proto.Message
	GetEpisodeId() string
}

// headers are keys and values of the moment when a call or report is made.
func (c *Client) headers(ctx context.Context, request request) []string {
	headers := []string{}
	if header := episodeHeader(request.GetEpisodeId()); header != "" {
		headers = append(headers, "sojourn-episode", header)
	}
	if c.options.Traceparent != nil {
		if trace := c.options.Traceparent(ctx); trace != "" {
			headers = append(headers, "traceparent", trace)
		}
	}
	return headers
}

// episodeHeader is an episode's id as the header by which a proxy keeps its turns together: visible ASCII but for "%"
// stays, any other byte becomes "%" and two hexadecimal digits. An id that the router refuses for its length is left
// out, as a header may be too long for the transport, which says less clearly why.
func episodeHeader(id string) string {
	if len(id) > maxIDBytes {
		return ""
	}
	var header strings.Builder
	for _, b := range []byte(id) {
		if b > ' ' && b <= '~' && b != '%' {
			header.WriteByte(b)
		} else {
			fmt.Fprintf(&header, "%%%02X", b)
		}
	}
	return header.String()
}

func (c *Client) outgoing(ctx context.Context, headers []string) context.Context {
	ctx = metadata.AppendToOutgoingContext(ctx, headers...)
	if c.options.Token != nil {
		if token := c.options.Token(); token != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
		}
	}
	return ctx
}

func withDefaults(options Options) Options {
	if options.Policy == "" {
		options.Policy = "default"
	}
	if options.DecideDeadline <= 0 {
		options.DecideDeadline = 50 * time.Millisecond
	}
	if options.ReportDeadline <= 0 {
		options.ReportDeadline = 5 * time.Second
	}
	if options.QueueSize <= 0 {
		options.QueueSize = 1024
	}
	if options.Credentials == nil {
		options.Credentials = insecure.NewCredentials()
	}
	return options
}

// checkSize refuses what is too long to be accepted. The transport answers that with RESOURCE_EXHAUSTED, which would
// look like an overloaded router and be retried for ever.
func checkSize(request proto.Message) error {
	if size := proto.Size(request); size > maxMessageBytes {
		message := fmt.Sprintf("the request takes %d bytes; %d are allowed", size, maxMessageBytes)
		return &Refused{Code: "INVALID_ARGUMENT", Reason: "INVALID_FIELD", Message: message}
	}
	return nil
}

func shortName(value fmt.Stringer, prefix string) string {
	return strings.TrimPrefix(value.String(), prefix)
}
