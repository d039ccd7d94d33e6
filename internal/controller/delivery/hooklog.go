package delivery

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// handled are the events that Conductor acts on, with their action. Payloads of others are not read.
var handled = map[string]string{"push": "", "issue_comment": "created", "issues": "closed", "pull_request": "closed"}

// received is the status code with which the webhook answers a delivery of these kinds that it has received.
const received = 202

// logged is one event in GitHub's log, with all attempts to deliver it that were read.
type logged struct {
	guid, event string
	// at and index are of the first attempt, id and last of the newest one, whose payload GitHub keeps longest. The log has older attempts
	// at higher indexes.
	at, last time.Time
	id       int64
	index    int
	// isRedelivered means that an attempt was requested, isReceived that Conductor answered one.
	isRedelivered, isReceived bool
	// isWanted means that an operator wants it to be processed again.
	isWanted bool
}

// hookLog is a part of GitHub's log: the handled events in it, oldest first.
type hookLog struct {
	events []*logged
	// newest is the time of the newest attempt of any event; zero if there is none.
	newest time.Time
	// requests is how many requests were needed.
	requests int
}

// readLog reads GitHub's log back to a time, and further until it has found the wanted deliveries.
func readLog(ctx context.Context, gh DeliveryLog, since time.Time, wanted []string) (hookLog, error) {
	var l hookLog
	byGUID := map[string]*logged{}
	missing := slices.Clone(wanted)
	index := 0
	var err error
	l.requests, err = gh.HookDeliveries(ctx, func(d v1alpha1.HookDelivery) bool {
		isOld := d.DeliveredAt.Before(since)
		if isOld && len(missing) == 0 {
			return false
		}
		if l.newest.IsZero() {
			l.newest = d.DeliveredAt
		}
		isWanted := isNamed(d, wanted)
		missing = slices.DeleteFunc(missing, func(name string) bool { return isNamed(d, []string{name}) })
		if action, isHandled := handled[d.Event]; !isWanted && (isOld || !isHandled || action != d.Action || d.InstallationID == 0) {
			return true
		}
		guid := strings.ToLower(d.GUID)
		e := byGUID[guid]
		if e == nil {
			e = &logged{guid: guid, event: d.Event, id: d.ID, last: d.DeliveredAt}
			byGUID[guid] = e
			l.events = append(l.events, e)
		}
		index++
		e.at, e.index = d.DeliveredAt, index
		e.isRedelivered, e.isReceived, e.isWanted = e.isRedelivered || d.Redelivery, e.isReceived || d.StatusCode == received, e.isWanted || isWanted
		return true
	})
	slices.SortFunc(l.events, func(a, b *logged) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(b.index, a.index)) })
	l.separate()
	return l, err
}

// isNamed reports whether a delivery has one of the names: its GUID or the id of an attempt.
func isNamed(d v1alpha1.HookDelivery, names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, d.GUID) || name == strconv.FormatInt(d.ID, 10) })
}

// separate gives events of the same second different times in their order: GitHub's times have whole seconds.
func (l *hookLog) separate() {
	var second time.Time
	n := 0
	for _, e := range l.events {
		if !e.at.Equal(second) {
			second, n = e.at, 0
		}
		e.at = second.Add(time.Duration(n) * time.Microsecond)
		n++
	}
}
