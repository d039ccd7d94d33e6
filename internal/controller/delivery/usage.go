package delivery

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// usage is what reading the log costs and how late its deliveries are. It is logged every hour.
type usage struct {
	since     time.Time
	calls     int
	count     int
	sum, most time.Duration
}

// taken notes the latency of a delivery.
func (u *usage) taken(latency time.Duration) {
	u.count++
	u.sum += latency
	u.most = max(u.most, latency)
}

// report logs the usage of the last hour.
func (u *usage) report(log *slog.Logger, now time.Time) {
	if u.since.IsZero() {
		u.since = now
	}
	took := now.Sub(u.since)
	if took < time.Hour {
		return
	}
	mean := time.Duration(0)
	if u.count > 0 {
		mean = u.sum / time.Duration(u.count)
	}
	log.Info("read GitHub's delivery log", "callsPerHour", int(float64(u.calls)/took.Hours()), "deliveries", u.count,
		"meanLatency", mean.Round(time.Millisecond).String(), "maxLatency", u.most.Round(time.Millisecond).String())
	*u = usage{since: now}
}

// CatchUpMetrics are the metrics of a CatchUp. Their methods accept nil.
type CatchUpMetrics struct {
	gap   prometheus.Gauge
	found *prometheus.CounterVec
	calls prometheus.Counter
}

// NewCatchUpMetrics makes the metrics and registers them.
func NewCatchUpMetrics(reg prometheus.Registerer) (*CatchUpMetrics, error) {
	m := &CatchUpMetrics{
		gap: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "conductor_delivery_log_gap_seconds",
			Help: "How long ago GitHub's delivery log was last read to its end, while it is being read or cannot be; else 0. Only of the leader.",
		}),
		found: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "conductor_missed_deliveries_total",
			Help: "Deliveries that were taken from GitHub's log because no webhook received them, by event and by what became of them.",
		}, []string{"event", "result"}),
		calls: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "conductor_delivery_log_calls_total", Help: "Requests to GitHub's delivery log.",
		}),
	}
	for _, c := range []prometheus.Collector{m.gap, m.found, m.calls} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register the metrics of the delivery log: %w", err)
		}
	}
	return m, nil
}

func (m *CatchUpMetrics) behind(gap time.Duration) {
	if m != nil {
		m.gap.Set(gap.Seconds())
	}
}

// missed counts an event. Only handled events come here, or those that an operator names, so the labels are bounded.
func (m *CatchUpMetrics) missed(event, result string) {
	if m == nil {
		return
	}
	if _, isHandled := handled[event]; !isHandled {
		event = "other"
	}
	m.found.WithLabelValues(event, result).Inc()
}

func (m *CatchUpMetrics) called(requests int) {
	if m != nil {
		m.calls.Add(float64(requests))
	}
}
