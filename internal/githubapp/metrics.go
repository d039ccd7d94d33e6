package githubapp

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	requestsLeft = prometheus.NewDesc("conductor_github_requests_left", "Requests of the primary limit that are left, by installation.", label(), nil)
	writesWait   = prometheus.NewDesc("conductor_github_writes_waiting", "Writes to GitHub that wait for its limits, by installation.", label(), nil)
	blockedFor   = prometheus.NewDesc("conductor_github_blocked_seconds", "How long no request is sent because a limit is reached, by installation.", label(), nil)
)

func label() []string { return []string{"installation"} }

// Collector returns the metrics of the limits. Installation 0 is the App itself.
func (c *Client) Collector() prometheus.Collector { return collector{c} }

type collector struct{ client *Client }

// Describe implements prometheus.Collector.
func (c collector) Describe(all chan<- *prometheus.Desc) {
	all <- requestsLeft
	all <- writesWait
	all <- blockedFor
}

// Collect implements prometheus.Collector.
func (c collector) Collect(all chan<- prometheus.Metric) {
	for _, l := range c.client.Limits() {
		gauge := func(desc *prometheus.Desc, value float64) {
			all <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, fmt.Sprint(l.Installation))
		}
		if l.Requests > 0 { // GitHub has not returned them otherwise.
			gauge(requestsLeft, float64(l.RequestsLeft))
		}
		gauge(writesWait, float64(l.Waiting))
		gauge(blockedFor, l.Blocked.Seconds())
	}
}
