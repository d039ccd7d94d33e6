package delivery

import (
	"context"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// GitHub is what acting on deliveries and polling need from GitHub.
type GitHub interface {
	// Permission returns a user's permission on the repository; "none" if they do not have one.
	Permission(ctx context.Context, installation int64, repo v1alpha1.Repository, login string) (v1alpha1.Permission, error)
	// React adds a reaction to an issue comment; repeating it changes nothing. Content is a name of GitHub's, such as rocket.
	React(ctx context.Context, installation int64, repo v1alpha1.Repository, comment int64, content string) error
	// HasRoom reports whether more than half of what GitHub's limits let an installation create is left.
	HasRoom(installation int64) bool
	// UpsertComment updates Conductor's comment on an issue and returns its id. With id 0 it searches for a comment of Conductor's with
	// mark on its first line, and creates one if it finds none.
	UpsertComment(ctx context.Context, installation int64, repo v1alpha1.Repository, issue int, id int64, mark, body string) (int64, error)
	// Repositories calls each for every repository that the App is installed on.
	Repositories(ctx context.Context, each func(installation int64, repo v1alpha1.Repository) error) error
	// Tags returns the tags whose short name begins with prefix: full ref to the object that it points to.
	Tags(ctx context.Context, installation int64, repo v1alpha1.Repository, prefix string) (map[string]string, error)
}

// DeliveryLog is GitHub's log of the deliveries to the App's webhook.
type DeliveryLog interface {
	// HookDeliveries calls each for the attempts in the log, newest first, until it returns false. It returns the number of requests.
	HookDeliveries(ctx context.Context, each func(v1alpha1.HookDelivery) bool) (int, error)
	// HookPayload returns the payload of an attempt. Its error is terminal with the reason NotFound if the payload does not exist any more,
	// and with the reason Skipped if it is too large.
	HookPayload(ctx context.Context, id int64) ([]byte, error)
	// Redeliver asks GitHub to deliver the event of an attempt again.
	Redeliver(ctx context.Context, id int64) error
}

// Intake decodes a delivery and stores it if it has to be acted on, as the webhook does. It returns a word for metrics. Its error is
// transient.
type Intake interface {
	Take(ctx context.Context, guid, event string, at time.Time, body []byte) (string, error)
}
