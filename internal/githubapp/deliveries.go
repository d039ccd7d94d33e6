package githubapp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/google/go-github/v62/github"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/failure"
)

// HookDeliveries calls each for the attempts in the log of the App's webhook, newest first, until it returns false. It returns the number
// of pages that it read. GitHub keeps the log for three days and serves it in pages of at most 100, each one request. The requests are not
// conditional: GitHub's entity tags depend on the token, and the App's token changes with each request.
func (c *Client) HookDeliveries(ctx context.Context, each func(v1alpha1.HookDelivery) bool) (pages int, err error) {
	s := c.asApp("list the deliveries of the App's webhook")
	opts := github.ListCursorOptions{PerPage: perPage}
	for pages < maxPages {
		var page []*github.HookDelivery
		resp, err := c.call(ctx, s, func(ctx context.Context, gh *github.Client) (*github.Response, error) {
			var resp *github.Response
			var err error
			page, resp, err = gh.Apps.ListHookDeliveries(ctx, &opts)
			return resp, err
		})
		if err != nil {
			return pages, err
		}
		pages++
		for _, d := range page {
			if !each(hookDelivery(d)) {
				return pages, nil
			}
		}
		if resp.Cursor == "" {
			return pages, nil
		}
		opts.Cursor = resp.Cursor
	}
	return pages, fmt.Errorf("%s: more than %d pages", s.what, maxPages)
}

func hookDelivery(d *github.HookDelivery) v1alpha1.HookDelivery {
	return v1alpha1.HookDelivery{
		ID: d.GetID(), GUID: d.GetGUID(), Event: d.GetEvent(), Action: d.GetAction(), DeliveredAt: d.GetDeliveredAt().Time,
		Redelivery: d.GetRedelivery(), StatusCode: d.GetStatusCode(), InstallationID: d.GetInstallationID(), RepositoryID: d.GetRepositoryID(),
	}
}

// HookPayload returns the payload of a delivery. It is not signed and need not be: GitHub's API is authentic. The error has
// the reason NotFound if GitHub does not have the delivery any more, and Skipped if the payload is larger than this package's limit for
// responses.
func (c *Client) HookPayload(ctx context.Context, id int64) ([]byte, error) {
	var got struct {
		Request struct {
			Payload json.RawMessage `json:"payload"`
		} `json:"request"`
	}
	s := c.asApp(fmt.Sprintf("read the delivery %d", id))
	if err := c.request(ctx, s, http.MethodGet, fmt.Sprintf("app/hook/deliveries/%d", id), nil, &got); errors.Is(err, errTooLarge) {
		return nil, failure.Terminalf(v1alpha1.ReasonSkipped, err, "The payload of delivery %d is larger than 8 MiB", id)
	} else if err != nil {
		return nil, err
	}
	if len(got.Request.Payload) == 0 || string(got.Request.Payload) == "null" {
		return nil, failure.Terminalf(v1alpha1.ReasonNotFound, nil, "GitHub does not have the payload of delivery %d any more", id)
	}
	return got.Request.Payload, nil
}

// Redeliver asks GitHub to deliver an event again, under the same GUID.
func (c *Client) Redeliver(ctx context.Context, id int64) error {
	s := c.asApp(fmt.Sprintf("redeliver the delivery %d", id))
	s.once = true
	_, err := c.call(ctx, s, func(ctx context.Context, gh *github.Client) (*github.Response, error) {
		_, resp, err := gh.Apps.RedeliverHookDelivery(ctx, id)
		if _, isAccepted := errors.AsType[*github.AcceptedError](err); isAccepted {
			return resp, nil
		}
		return resp, err
	})
	return err
}
