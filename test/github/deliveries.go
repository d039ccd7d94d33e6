package githubtest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
)

func deliveryRoutes() []*route {
	const base = "/app/hook/deliveries"
	return []*route{
		{method: "GET", template: "/app/hook/config", access: appOnly, handle: getHookConfig},
		{method: "GET", template: base, access: appOnly, handle: listDeliveries},
		{method: "GET", template: base + "/{delivery_id}", access: appOnly, handle: withDelivery(getDelivery)},
		{method: "POST", template: base + "/{delivery_id}/attempts", access: appOnly, handle: withDelivery(redeliver)},
	}
}

func getHookConfig(c *call) answer {
	h := c.principal.app.hook
	o := object{"content_type": "json", "insecure_ssl": "0", "url": h.url}
	if h.secret != "" {
		o["secret"] = "********"
	}
	return ok(o)
}

// recent are the App's finished deliveries within GitHub's window, newest first.
func (c *call) recent() []*Delivery {
	var all []*Delivery
	for _, d := range slices.Backward(c.principal.app.hook.deliveries) {
		if d.Done && c.now.Sub(d.At) <= deliveryWindow {
			all = append(all, d)
		}
	}
	return all
}

// listDeliveries pages by cursor: the id of the first delivery of the page.
func listDeliveries(c *call) answer {
	var all []*Delivery
	cursor, _ := strconv.ParseInt(c.query.Get("cursor"), 10, 64)
	for _, d := range c.recent() {
		good := d.StatusCode >= 200 && d.StatusCode < 400
		if status := c.query.Get("status"); status == "success" && !good || status == "failure" && good {
			continue
		}
		if cursor == 0 || d.ID <= cursor {
			all = append(all, d)
		}
	}
	size := c.pageSize()
	page := all[:min(size, len(all))]
	a := ok(each(page, deliveryItem))
	if len(all) > size {
		a.header.Set("Link", c.link("next", "cursor", itoa(all[size].ID)))
	}
	return a
}

func deliveryItem(d *Delivery) object {
	o := object{
		"id": d.ID, "guid": d.GUID, "delivered_at": stamp(d.At), "redelivery": d.Redelivery, "duration": d.Duration.Seconds(),
		"status": d.Status, "status_code": d.StatusCode, "event": d.Event, "action": nullable(d.Action),
		"installation_id": d.Installation, "repository_id": nil, "throttled_at": nil,
	}
	if d.Repository != 0 {
		o["repository_id"] = d.Repository
	}
	return o
}

func withDelivery(handle func(*call, *Delivery) answer) func(*call) answer {
	return func(c *call) answer {
		for _, d := range c.recent() {
			if d.ID == c.number("delivery_id") {
				return handle(c, d)
			}
		}
		return notFound()
	}
}

func getDelivery(c *call, d *Delivery) answer {
	o := deliveryItem(d)
	o["url"] = c.principal.app.hook.url
	var payload any
	if err := json.Unmarshal(d.Payload, &payload); err != nil {
		return failure(http.StatusInternalServerError, err.Error())
	}
	o["request"] = object{"headers": flat(d.requestHeader), "payload": payload}
	o["response"] = object{"headers": flat(d.responseHeader), "payload": d.response}
	return ok(o)
}

func flat(h http.Header) object {
	o := object{}
	for name := range h {
		o[name] = h.Get(name)
	}
	return o
}

// redeliver sends the same event again, under the same GUID.
func redeliver(c *call, d *Delivery) answer {
	c.redeliver(c.principal.app, d)
	return accepted(object{})
}

func (s *Server) redeliver(a *app, d *Delivery) {
	s.deliver(a, &Delivery{
		GUID: d.GUID, Event: d.Event, Action: d.Action, Installation: d.Installation, Repository: d.Repository,
		Payload: d.Payload, Redelivery: true,
	})
}
