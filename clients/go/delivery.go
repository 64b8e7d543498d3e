package sojourn

import (
	"context"
	"maps"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	backoffBase    = 100 * time.Millisecond
	backoffCeiling = 10 * time.Second
)

// Acknowledgement is the router's receipt: RECORDED, DUPLICATE or LATE. JoinedDecisions counts the decisions that an
// outcome joins; 0 = nothing can be learned from it: was the episode's id right?
type Acknowledgement struct {
	State           string
	JoinedDecisions int
}

// Counters is what a client has counted. Fallbacks are the turns that it decided by itself, by gRPC status name.
type Counters struct {
	Decisions           int
	Fallbacks           map[string]int
	ReportsAcknowledged int
	ReportsRetried      int
	ReportsRefused      int
	ReportsDropped      int
}

// Receipt is a report under way.
type Receipt struct {
	settled chan struct{}
	answer  Acknowledgement
	err     error
}

// Wait returns the router's acknowledgement: an outcome is durable then. It returns a *Refused if the router refused for
// good, ErrDropped if the client was closed before, and the context's error when that ends; the report stays queued.
func (r *Receipt) Wait(ctx context.Context) (Acknowledgement, error) {
	select {
	case <-r.settled:
		return r.answer, r.err
	case <-ctx.Done():
		return Acknowledgement{}, ctx.Err()
	}
}

type send func(context.Context) (Acknowledgement, error)

type report struct {
	send    send
	receipt *Receipt
}

// delivery sends reports one at a time, oldest first, because an outcome must not overtake the facts of its turns. Each
// is sent again until it is acknowledged, refused for good, or given up; its natural key makes repeats harmless.
type delivery struct {
	counters *counters
	queue    chan report
	ctx      context.Context // ends with the client
	cancel   context.CancelFunc
	mutex    sync.RWMutex // held for reading while a report is queued, for writing while the queue is closed
	stopped  bool
	done     chan struct{}
	pending  sync.WaitGroup
}

func newDelivery(capacity int, counted *counters) *delivery {
	ctx, cancel := context.WithCancel(context.Background())
	d := &delivery{counters: counted, queue: make(chan report, capacity), ctx: ctx, cancel: cancel, done: make(chan struct{})}
	go d.run()
	return d
}

func (d *delivery) offer(send send) (*Receipt, error) {
	d.mutex.RLock()
	defer d.mutex.RUnlock()
	receipt := &Receipt{settled: make(chan struct{})}
	if !d.stopped {
		d.pending.Add(1)
		select {
		case d.queue <- report{send, receipt}:
			return receipt, nil
		default: // full: the older reports are nearer to the end of their episodes' windows
			d.pending.Done()
		}
	}
	d.counters.add(func(c *Counters) { c.ReportsDropped++ })
	return nil, ErrDropped
}

func (d *delivery) flush(timeout time.Duration) bool {
	empty := make(chan struct{})
	go func() { d.pending.Wait(); close(empty) }()
	select {
	case <-empty:
		return true
	case <-time.After(timeout):
		return false
	}
}

// stop gives up what is left.
func (d *delivery) stop() {
	d.mutex.Lock()
	if !d.stopped {
		d.stopped = true
		close(d.queue)
	}
	d.mutex.Unlock()
	d.cancel()
	<-d.done
}

func (d *delivery) run() {
	defer close(d.done)
	for report := range d.queue {
		report.receipt.answer, report.receipt.err = d.deliver(report.send)
		close(report.receipt.settled)
		d.pending.Done()
	}
}

func (d *delivery) deliver(send send) (Acknowledgement, error) {
	for retries := 0; d.ctx.Err() == nil; retries++ {
		answer, err := send(d.ctx)
		if err == nil {
			d.counters.add(func(c *Counters) { c.ReportsAcknowledged++ })
			return answer, nil
		}
		refused := refusedBy(err)
		if !refused.isTransient() {
			d.counters.add(func(c *Counters) { c.ReportsRefused++ })
			return Acknowledgement{}, refused
		}
		if d.ctx.Err() != nil {
			break
		}
		d.counters.add(func(c *Counters) { c.ReportsRetried++ })
		select {
		case <-time.After(pause(retries, refused.retryAfter)):
		case <-d.ctx.Done():
		}
	}
	d.counters.add(func(c *Counters) { c.ReportsDropped++ })
	return Acknowledgement{}, ErrDropped
}

// pause is the router's wish plus full jitter before retry number retries, from 0.
func pause(retries int, wish time.Duration) time.Duration {
	ceiling := min(backoffCeiling, backoffBase<<min(retries, 16))
	return min(wish, backoffCeiling) + rand.N(ceiling)
}

// counters guards Counters.
type counters struct {
	mutex     sync.Mutex
	counted   Counters
	fallbacks map[string]int
}

func (c *counters) add(change func(*Counters)) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	change(&c.counted)
}

func (c *counters) addDecision(fallback string) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.counted.Decisions++
	if fallback != "" {
		c.fallbacks[fallback]++
	}
}

func (c *counters) read() Counters {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	copied := c.counted
	copied.Fallbacks = maps.Clone(c.fallbacks)
	return copied
}
