package delivery

import (
	"context"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// GitHub is what acting on deliveries and polling need from GitHub.
type GitHub interface {
	// Permission returns a user's permission on the repository; "none" if they do not have one.
	Permission(ctx context.Context, installation int64, repo v1alpha1.Repository, login string) (v1alpha1.Permission, error)
	// React adds a reaction to an issue comment; repeating it changes nothing. Content is a name of GitHub's, such as rocket.
	React(ctx context.Context, installation int64, repo v1alpha1.Repository, comment int64, content string) error
	// UpsertComment updates Conductor's comment on an issue and returns its id. With id 0 it searches for a comment of Conductor's with
	// mark on its first line, and creates one if it finds none.
	UpsertComment(ctx context.Context, installation int64, repo v1alpha1.Repository, issue int, id int64, mark, body string) (int64, error)
	// Repositories calls each for every repository that the App is installed on.
	Repositories(ctx context.Context, each func(installation int64, repo v1alpha1.Repository) error) error
	// Tags returns the tags whose short name begins with prefix: full ref to the object that it points to.
	Tags(ctx context.Context, installation int64, repo v1alpha1.Repository, prefix string) (map[string]string, error)
}
