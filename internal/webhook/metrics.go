package webhook

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type instruments struct {
	deliveries *prometheus.CounterVec
	seconds    prometheus.Histogram
}

func newInstruments(reg prometheus.Registerer) (*instruments, error) {
	m := &instruments{
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "conductor_webhook_deliveries_total",
			Help: "Webhook requests by event and by what became of them.",
		}, []string{"event", "result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "conductor_webhook_seconds",
			Help:    "Time from a webhook request's headers to its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.deliveries, m.seconds} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register the webhook's metrics: %w", err)
		}
	}
	return m, nil
}

func (m *instruments) seen(event, result string, took time.Duration) {
	m.deliveries.WithLabelValues(event, result).Inc()
	m.seconds.Observe(took.Seconds())
}
